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


def test_a_lost_place_does_not_spoil_its_rows() -> None:
    row, line = BLOCK * torch.arange(48.0)[:, None], torch.arange(64.0)[None, :] - 31.5
    truth = torch.stack((-STRAIN * row + 0 * line, STRAIN * line + 0 * row))[None]
    lost, weight = truth.clone(), torch.ones(1, 1, 48, 64)
    lost[:, :, 20:30, 24:36] += torch.rand(2, 10, 12, generator=torch.Generator().manual_seed(0))
    weight[:, :, 20:30, 24:36] = 0.005
    got, share = called_for(lost, weight, BLOCK)
    assert float(share) == pytest.approx(1.0, abs=0.01)
    torch.testing.assert_close(got, truth[:, 1:], atol=0.01, rtol=0)


def test_rows_that_are_lost_whole_are_as_those_beside_them() -> None:
    row, line = BLOCK * torch.arange(48.0)[:, None], torch.arange(64.0)[None, :] - 31.5
    truth = torch.stack((-STRAIN * row + 0 * line, STRAIN * line + 0 * row))[None]
    lost, weight = truth.clone(), torch.ones(1, 1, 48, 64)
    lost[:, :, 36:] += torch.rand(2, 12, 64, generator=torch.Generator().manual_seed(0))
    weight[:, :, 36:] = 0.005
    got, _ = called_for(lost, weight, BLOCK)
    torch.testing.assert_close(got, truth[:, 1:], atol=0.1, rtol=0)


def test_points_of_several_lines_call_for_as_much() -> None:
    """The same press, each point the mean of 2 × 2."""
    fine = pressed(1.0)[..., :16]
    coarse = fine.unflatten(3, (-1, 2)).mean(4).unflatten(2, (-1, 2)).mean(3)
    got, share = called_for(coarse, torch.ones(1, 1, 12, 8), 2 * BLOCK, 2)
    assert float(share) == pytest.approx(1.0, abs=0.01)
    torch.testing.assert_close(got, coarse[:, 1:] - coarse[:, 1:].mean(3, keepdim=True), atol=1e-4, rtol=0)


def test_pairs_of_a_batch_are_apart_and_no_strain_calls_for_nothing() -> None:
    still = torch.zeros(1, 2, 24, 17)
    weight = torch.ones(2, 1, 24, 17)
    got, _ = called_for(torch.cat((still, pressed(0.7))), weight, BLOCK)
    assert float(got[0].abs().max()) == 0
    torch.testing.assert_close(got[1:], pressed(0.7)[:, 1:], atol=1e-4, rtol=0)
