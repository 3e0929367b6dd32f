"""What an axial displacement calls for across the lines: the analytic field, and only as much as the frames show."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from usert.network.incompressible import called_for

BLOCK = 4
STRAIN = 0.02


def pressed(share: float, *, batch: int = 1) -> Tensor:
    """A uniform press of 2 %, 24 points of 4 rows by 17 lines, with `share` of the sideways motion it calls for."""
    row, line = BLOCK * torch.arange(24.0)[:, None], torch.arange(17.0)[None, :] - 8
    axial, lateral = -STRAIN * row + 0 * line, share * STRAIN * line + 0 * row
    return torch.stack((axial, lateral))[None].repeat(batch, 1, 1, 1)


@pytest.mark.parametrize(("share", "asked"), [(1.0, 1.0), (0.4, 0.4), (0.0, 0.0), (-0.5, 0.0), (1.7, 1.0)])
def test_of_a_uniform_press_the_share_that_is_seen_is_asked_for_between_none_and_all(
    share: float, asked: float
) -> None:
    got, seen = called_for(pressed(share), torch.ones(1, 1, 24, 17), BLOCK)
    assert float(seen) == pytest.approx(asked, abs=0.01)
    torch.testing.assert_close(got, pressed(asked)[:, 1:], atol=1e-4, rtol=0)


def test_what_is_not_measured_does_not_count() -> None:
    displacement = pressed(1.0)
    displacement[:, 1, :, 9:] *= -3  # wrong on one side, where the weight is next to nothing
    weight = torch.ones(1, 1, 24, 17)
    weight[..., 8:] = 1e-6
    got, _ = called_for(displacement, weight, BLOCK)
    torch.testing.assert_close(got, pressed(1.0)[:, 1:], atol=1e-3, rtol=0)


def test_pairs_of_a_batch_are_apart_and_no_strain_calls_for_nothing() -> None:
    still = torch.zeros(1, 2, 24, 17)
    weight = torch.ones(2, 1, 24, 17)
    got, _ = called_for(torch.cat((still, pressed(0.7))), weight, BLOCK)
    assert float(got[0].abs().max()) == 0
    torch.testing.assert_close(got[1:], pressed(0.7)[:, 1:], atol=1e-4, rtol=0)
