"""The polyphase filter against the plain sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from usert.network.depth_filter import DepthFilter


@pytest.mark.parametrize("length", [1, 3, 31, 33, 63, 65, 67, 129])
def test_equals_plain_correlation(length: int) -> None:
    rng = np.random.default_rng(length)
    taps = rng.standard_normal(length)
    image = rng.standard_normal((2, 3, 96, 5))
    expected = np.apply_along_axis(
        np.convolve, 2, np.pad(image, ((0, 0), (0, 0), (length, length), (0, 0))), taps[::-1], "same"
    )
    expected = expected[:, :, length:-length]
    filtered = DepthFilter(taps)(torch.from_numpy(image).float()).numpy()
    np.testing.assert_allclose(filtered, expected, atol=2e-5)


def test_what_is_done_across_lines_may_be_done_inside() -> None:
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 96, 7))).float()
    filtered, mean = DepthFilter(np.ones(33) / 33), torch.nn.AvgPool2d((1, 5), 1, (0, 2))
    torch.testing.assert_close(filtered(image, across=mean), mean(filtered(image)))


def test_keeps_no_parameters_and_no_state() -> None:
    module = DepthFilter(np.ones(3))
    assert not list(module.parameters())
    assert not module.state_dict()


@pytest.mark.parametrize("taps", [np.ones(4), np.ones((3, 3)), np.ones(0)])
def test_taps_are_odd_and_in_one_row(taps: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    with pytest.raises(ValueError, match="taps: got"):
        DepthFilter(taps)


def test_rows_come_in_blocks() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 1, 40, 4\), expected .*32"):
        DepthFilter(np.ones(3))(torch.zeros(1, 1, 40, 4))
