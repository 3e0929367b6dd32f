"""The complex envelope on the depth grid: what it equals, and what changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from grid_pair import grid_pair
from torch import Tensor

from usert.analytic import analytic_signal
from usert.front_end import depth_grid, grid_rows
from usert.network.baseband import baseband, channels, halved, resampled, taps
from usert.network.companding import companded_channels, composed, moved
from usert.network.complex import angle, power, times
from usert.network.grids import block_mean
from usert.network.warp import warp

CYCLES = 0.1625


def frames(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    pair = grid_pair(strain=0.0, shape=(640, 64), seed=seed, noise=0.0)
    first, second = (torch.from_numpy(f.astype(np.float32))[None] for f in (pair.first, pair.second))
    return first, second, pair.depths


def correlation(a: Tensor, b: Tensor, rows: slice) -> complex:
    product = times(a, b, conjugate=True)[:, :, rows].sum(dim=(2, 3))[0]
    size = torch.sqrt(power(a)[:, :, rows].sum() * power(b)[:, :, rows].sum())
    return complex(*(product / size).tolist())


def test_it_is_the_analytic_signal_turned_down_by_the_carrier() -> None:
    first, _, depths = frames()
    signals = baseband(first, first, depths)
    analytic = analytic_signal(first[0].numpy())
    n = np.arange(first.shape[1])
    carrier = float(signals.frequency) * 3 * CYCLES  # radians a sample
    down = analytic * np.exp(-1j * carrier * n)[:, None]
    at = depths.numpy()
    expected = np.stack(
        [np.interp(at, n, down[:, m].real) + 1j * np.interp(at, n, down[:, m].imag) for m in range(64)], 1
    )
    got = torch.complex(signals.first[0, 0], signals.first[0, 1]).numpy()
    inside = slice(20, int(640 * CYCLES * 3) - 20)
    likeness = np.vdot(expected[inside], got[inside]) / np.sqrt(
        np.vdot(expected[inside], expected[inside]).real * np.vdot(got[inside], got[inside]).real
    )
    assert abs(likeness) > 0.99


@pytest.mark.parametrize("told", [0.8, 1.2])
def test_a_wrong_centre_frequency_is_measured_and_taken_out(told: float) -> None:
    first, _, _ = frames()
    cycles = told * CYCLES
    depths = torch.from_numpy(depth_grid(grid_rows(640, cycles), cycles))
    signals = baseband(first, first, depths)
    carrier = float(signals.frequency) * 3 * cycles / (2 * np.pi)
    assert carrier == pytest.approx(CYCLES, rel=0.04)


def test_iq_of_the_same_tissue_is_the_same_signal() -> None:
    """Turned down and thinned four times, as scanners do it."""
    first, second, depths = frames()
    rf = baseband(first, second, depths)
    n = np.arange(640)
    iq = []
    for frame in (first, second):
        down = 2 * analytic_signal(frame[0].numpy()) * np.exp(-2j * np.pi * CYCLES * n)[:, None]
        thin = down[::4]
        iq.append(torch.from_numpy(np.stack((thin.real, thin.imag)).astype(np.float32))[None])
    thinned = torch.from_numpy(depth_grid(len(depths), CYCLES * 4) + (0.5 - 0.5 / 4) - 0.0)
    thinned = depths / 4
    got = baseband(*iq, thinned)
    rows = slice(20, 290)
    assert abs(correlation(rf.first, got.first, rows)) > 0.98
    # a phase common to both frames means nothing; between them it must be the same
    between = [correlation(one.first, one.second, rows) for one in (rf, got)]
    assert abs(between[0] - between[1]) < 0.02


@pytest.mark.parametrize("gain", [1e-3, 3.0, 250.0])
def test_a_gain_of_either_frame_changes_nothing(gain: float) -> None:
    first, second, depths = frames()
    plain, changed = baseband(first, second, depths), baseband(first, gain * second, depths)
    torch.testing.assert_close(plain.second, changed.second, atol=1e-4, rtol=1e-4)


def test_a_common_phase_changes_no_channel() -> None:
    first, second, depths = frames()
    signals = baseband(first, second, depths)
    a, b = (block_mean(part, 2) for part in signals[:2])
    turned = torch.tensor([0.6, 0.8])[None, :, None, None]
    for plain, changed in zip(channels(a, b), channels(times(a, turned), times(b, turned)), strict=True):
        torch.testing.assert_close(plain, changed, atol=1e-4, rtol=1e-4)


def test_below_the_last_sample_there_is_nothing() -> None:
    first, second, _ = frames()
    cycles = CYCLES
    depths = torch.from_numpy(depth_grid(grid_rows(640, cycles) + 64, cycles))
    signals = baseband(first, second, depths)
    assert float(signals.first[:, :, depths > 639].abs().max()) == 0


@pytest.mark.parametrize("iq", [False, True])
@pytest.mark.parametrize("cycles", [0.021, 0.1625, 0.4])
@pytest.mark.parametrize("rows", [200, 641, 1500])
def test_tiles_of_depth_give_what_one_matrix_for_the_whole_frame_gives(
    rows: int, cycles: float, iq: bool
) -> None:
    frames = torch.randn(2, 2 if iq else 1, rows, 8, generator=torch.Generator().manual_seed(0))
    depths = torch.from_numpy(depth_grid(grid_rows(rows, cycles), cycles))
    at = torch.arange(rows, dtype=torch.float32)[None, :]
    real, imaginary = taps(at - depths[:, None], at, depths[1] - depths[0], iq=iq)
    whole = real @ frames if imaginary is None else torch.stack((real, imaginary)) @ frames
    got = resampled(frames, depths)
    inside = depths <= rows - 1  # rows below the frame are cleared by `baseband`
    torch.testing.assert_close(got[:, :, inside], whole[:, :, inside], atol=1e-5, rtol=0)


def test_silence_is_finite() -> None:
    silent = torch.zeros(1, 320, 32)
    depths = torch.from_numpy(depth_grid(grid_rows(320, CYCLES), CYCLES))
    signals = baseband(silent, silent, depths)
    for part in (*signals, *channels(*(block_mean(s, 2) for s in signals[:2]))):
        assert torch.isfinite(part).all()


def test_companding_by_the_truth_lays_echoes_on_each_other() -> None:
    pair = grid_pair(strain=0.05)
    rows = slice(20, pair.rows - 40)
    back = moved(pair.signals, pair.truth)
    assert correlation(pair.signals.first, back, rows).real > 0.9
    assert abs(correlation(pair.signals.first, pair.signals.second, rows)) < 0.3
    half = halved(pair.signals)
    truth = block_mean(pair.truth, 2) * torch.tensor([0.5, 1.0])[None, :, None, None]
    a, b = companded_channels(half, moved(half, truth), truth)
    assert a.shape == b.shape == (1, 3, len(pair.depths) // 2, 96)
    # the phase from row to row is that of the first frame, although the carrier was turned along
    assert float((a[:, 2].mean() - b[:, 2].mean()).abs()) < 0.05


def test_a_displacement_in_two_parts_is_put_together() -> None:
    """d(r) = d'(r) + c(r + d'(r)) for a smooth coarse map and a small rest."""
    row, line = torch.arange(128.0)[:, None], torch.arange(64.0)[None, :]
    coarse = torch.stack((-0.04 * row + 0.02 * line, 0.03 * line + 0 * row))[None]
    rest = torch.stack((0.5 * torch.sin(row / 20) + 0 * line, 0.3 * torch.cos(line / 9) + 0 * row))[None]
    exact = rest + warp(coarse, rest.flip(1), outside="border")
    got = composed(coarse, rest)
    torch.testing.assert_close(got[:, :, 4:-4, 4:-4], exact[:, :, 4:-4, 4:-4], atol=2e-3, rtol=0)


def test_the_angle_is_that_of_the_arctangent() -> None:
    turn = torch.linspace(-3.1, 3.1, 101)
    signal = torch.stack((torch.cos(turn), torch.sin(turn))).reshape(1, 2, 1, -1)
    torch.testing.assert_close(angle(signal)[0, 0, 0], turn, atol=2e-6, rtol=0)
