"""From frames to displacement on the depth grid: found at every sampling, whatever the network says."""

from __future__ import annotations

import pytest
import torch
from grid_pair import GridPair, grid_pair
from torch import Tensor

from usert.frame import Scan
from usert.network.baseband import halved
from usert.network.coarse import LARGEST, CoarseDisplacement, likeness, on_pixels
from usert.network.companding import moved
from usert.network.grid_refine import doubled
from usert.network.grids import at_depths, block_mean, box_mean
from usert.network.lags import likeliest
from usert.network.liteflownet import LiteFlowNet
from usert.network.motion import BasebandMotion, Motion, at_samples
from usert.phantom.field import Rigid, Scaled

QUARTER = 0.75
"""Rows of the depth grid in a quarter of a wavelength."""


def coarse_of(pair: GridPair) -> Tensor:
    half = halved(pair.signals)
    return doubled(CoarseDisplacement()(half.first, half.second))


def likeliest_of(pair: GridPair, *displacements: Tensor) -> Tensor:
    """Of displacements on the depth grid, on the depth grid; looked for on half of its rows."""
    half = halved(pair.signals)
    rows = [block_mean(one, 2) * torch.tensor([0.5, 1.0])[None, :, None, None] for one in displacements]
    return doubled(likeliest(half.first, [(one, moved(half, one)) for one in rows]))


@pytest.mark.parametrize("strain", [0.0, 0.003, 0.02, 0.05])
def test_the_coarse_map_is_right_to_some_wavelengths(strain: float) -> None:
    pair = grid_pair(strain=strain)
    axial, lateral = pair.apart(coarse_of(pair))
    assert float(axial.square().mean().sqrt()) < 3 * 0.7
    assert float(lateral.square().mean().sqrt()) < 1.2
    assert (
        float(pair.truth[:, 0].abs().max()) >= 3 * 768 * 0.1625 * strain * 0.8
    )  # that is what it had to find


def test_frames_with_nothing_in_common_give_something_finite_and_bounded() -> None:
    first, second = torch.randn(2, 1, 2, 96, 64, generator=torch.Generator().manual_seed(0)).unbind(0)
    for pair in ((first, second), (torch.zeros_like(first), second), (first * 0, second * 0)):
        found = CoarseDisplacement()(*pair)
        assert torch.isfinite(found).all()
        assert float(found[:, 0].abs().max()) <= 2 * LARGEST


@pytest.mark.parametrize("lines", [-3.0, 2.0, 4.0])
def test_a_jump_of_the_probe_along_depth_and_across_lines_is_found(lines: float) -> None:
    scan = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.12)
    jump = Rigid(dz_mm=60 * scan.axial_pitch_mm, dx_mm=lines * scan.line_pitch_mm)
    pair = grid_pair(strain=0.1, unit_field=Scaled(field=jump, scale=10.0))
    half = halved(pair.signals)
    axial, lateral = pair.apart(doubled(CoarseDisplacement()(half.first, half.second)))
    seen = slice(0, axial.shape[0] - 60)  # below, the tissue has left the second frame
    assert float(axial[seen].abs().max()) < 3 * 2.7
    assert float(lateral[seen].square().mean().sqrt()) < 1.2


def test_likeness_equals_brute_force() -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 1, 1, 128, 32, generator=generator).unbind(0)
    got = likeness(first, second, 7, 4)  # (1, bands, windows, lateral lags, axial lags)
    a, b = (block_mean(one, 2)[0, 0, :, ::2] for one in (first, second))
    row = torch.arange(64.0)
    gauss = torch.exp(-0.5 * ((row - (torch.arange(32.0)[:, None] * 2 + 0.5)) / 7).square())
    gauss = gauss / gauss.sum(dim=1, keepdim=True)
    longer = torch.nn.functional.pad(b, (2, 2, 7, 7))
    found, energy = torch.zeros(32, 8, 5, 15), torch.zeros(32, 8, 5, 1)
    for k in range(5):
        aside = (a.square() + longer[7:71, k : k + 16].square()) / 2
        energy[:, :, k, 0] = gauss @ aside.reshape(64, 8, 2).mean(dim=2)
        for lag in range(15):
            product = a * longer[lag : lag + 64, k : k + 16]
            found[:, :, k, lag] = gauss @ product.reshape(64, 8, 2).mean(dim=2)
    expected = (found / (energy + 0.05 * energy.mean())).transpose(0, 1)
    torch.testing.assert_close(got[0], expected, atol=1e-5, rtol=0)


def test_a_map_of_windows_becomes_pixels_along_straight_lines() -> None:
    field = torch.arange(32.0)[:, None] + 0 * torch.arange(8.0)
    fine = on_pixels(field[None, None], 64, 32)
    torch.testing.assert_close(fine[0, 0, :, 0], (torch.arange(64) + 0.5) / 2 - 0.5, atol=1e-5, rtol=0)


def test_box_means_are_those_of_a_plain_sum() -> None:
    image = torch.randn(2, 3, 20, 15, generator=torch.Generator().manual_seed(2))
    padded = torch.nn.functional.pad(image, (1, 1, 2, 2))
    expected = padded.unfold(2, 5, 1).unfold(3, 3, 1).mean(dim=(4, 5))
    torch.testing.assert_close(box_mean(image, 5, 3), expected, atol=1e-5, rtol=0)

    class Boxes(torch.nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return box_mean(image, 5, 3)

    free = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    for_any_shape = torch.export.export(
        Boxes(), (torch.zeros(2, 3, 10, 12),), dynamic_shapes=(free,)
    ).module()
    torch.testing.assert_close(for_any_shape(image), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("off", [-1.8, 1.2])
def test_whole_wavelengths_are_put_right(off: float) -> None:
    pair = grid_pair(strain=0.01)
    wrong = pair.truth + torch.tensor([3 * off, 0.0])[None, :, None, None]
    axial = pair.apart(likeliest_of(pair, wrong))[0]
    assert float((axial.abs() < 1.5).float().mean()) > 0.98  # half a wavelength: the phase does the rest


def test_the_likelier_of_two_displacements_is_taken() -> None:
    pair = grid_pair(strain=0.01)
    lost = torch.zeros_like(pair.truth) + 20.0
    for candidates in ((pair.truth, lost), (lost, pair.truth)):
        axial, lateral = pair.apart(likeliest_of(pair, *candidates))
        assert float(axial.abs().mean()) < 0.5
        assert float(lateral.abs().mean()) < 0.5


@pytest.mark.parametrize(
    ("fs_mhz", "f0_mhz", "rows"), [(40.0, 6.5, 768), (20.0, 5.0, 512), (63.0, 8.6, 1024), (15.0, 5.0, 384)]
)
def test_a_hard_press_is_found_at_every_sampling_even_by_a_network_that_knows_nothing(
    fs_mhz: float, f0_mhz: float, rows: int
) -> None:
    torch.manual_seed(0)
    pair = grid_pair(strain=0.05, shape=(rows, 96), fs_mhz=fs_mhz, f0_mhz=f0_mhz)
    motion = BasebandMotion(LiteFlowNet(finest=4, front_end="baseband"), "full").eval()
    first, second = (torch.from_numpy(f)[None].float() for f in (pair.first, pair.second))
    with torch.no_grad():
        axial, lateral = pair.apart(motion(first, second, pair.depths).displacement)
    assert float((axial.abs() < QUARTER).float().mean()) > 0.99
    assert float(axial.square().mean().sqrt()) < 0.06
    assert float(lateral.square().mean().sqrt()) < 0.3


def test_each_pair_of_a_batch_is_for_itself() -> None:
    torch.manual_seed(0)
    pairs = [grid_pair(strain=strain, shape=(400, 64), seed=seed) for seed, strain in enumerate((0.01, 0.03))]
    motion = BasebandMotion(LiteFlowNet(finest=5, front_end="baseband"), "full").eval()
    first, second = (
        torch.stack([torch.from_numpy(getattr(pair, name)).float() for pair in pairs])
        for name in ("first", "second")
    )
    with torch.no_grad():
        together = motion(first, second, pairs[0].depths).displacement
        for k in range(2):
            alone = motion(first[k : k + 1], second[k : k + 1], pairs[0].depths).displacement
            torch.testing.assert_close(together[k : k + 1], alone, atol=2e-2, rtol=0)


def test_samples_and_grid_agree_on_straight_lines() -> None:
    pair = grid_pair(strain=0.01, shape=(320, 32))
    row = torch.arange(320.0)
    line = (0.01 * row - 2)[None, None, :, None].expand(1, 1, 320, 32)
    on_grid = at_depths(torch.cat((line * 3 * pair.cycles, line), dim=1), pair.depths)
    back = at_samples(on_grid, pair.depths, 320)
    torch.testing.assert_close(back, torch.cat((line, line), dim=1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("front_end", ["rf", "baseband"])
def test_frames_of_any_shape_come_back_in_theirs(front_end: str) -> None:
    network = LiteFlowNet(finest=4, front_end=front_end)  # type: ignore[arg-type]
    frames = torch.randn(2, 2, 150, 45, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = Motion(network, "off").eval()(*frames, 0.16)
    assert found.shape == (2, 2, 150, 45)
    assert torch.isfinite(found).all()
