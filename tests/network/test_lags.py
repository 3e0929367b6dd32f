"""The likeness at each lag is the normalised complex correlation of each window, for every pair of a batch."""

from __future__ import annotations

import torch

from usert.network.lags import BLOCK, LAGS, PREFERENCE, _at_lags


def test_likeness_at_lags_is_that_of_complex_numbers() -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(2, 2, 32, 12, generator=generator) for _ in range(2))
    found = _at_lags(first, second)
    assert found.shape == (2, 2 * LAGS + 1, 32 // BLOCK[0], 12 // BLOCK[1])
    a, b = torch.complex(first[:, 0], first[:, 1]), torch.complex(second[:, 0], second[:, 1])
    b = torch.nn.functional.pad(b, (0, 0, LAGS, LAGS))

    def windows(image: torch.Tensor) -> torch.Tensor:
        return image.unflatten(1, (-1, BLOCK[0])).unflatten(3, (-1, BLOCK[1])).mean(dim=(2, 4))

    for lag in range(-LAGS, LAGS + 1):
        moved = b[:, LAGS + lag : LAGS + lag + 32]
        energy = windows(a.abs().square()) * windows(moved.abs().square())
        expected = windows(a * moved.conj()).abs() / energy.sqrt() - PREFERENCE * abs(lag)
        torch.testing.assert_close(found[:, LAGS + lag], expected, atol=1e-5, rtol=0)
