"""The whole graph of the front end `baseband`: strain by its definition, and quality that covers what is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from usert.export.baseband_graph import BasebandGraph, FollowGraph
from usert.export.gate import FramePair, by_torch
from usert.frame import Scan
from usert.front_end import START_SHAPE, depth_grid, graph_inputs
from usert.network.liteflownet import LiteFlowNet
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import READABLE_QUALITY, readable_mean
from usert.runtime.engines.start import start_of
from usert.runtime.imaging.estimate import Estimate
from usert.strain import axial_strain

CYCLES = 0.1625
Frame = NDArray[np.int16]


@pytest.fixture(scope="module")
def graph() -> BasebandGraph:
    """A network that has learnt nothing: what is found is found without it."""
    torch.manual_seed(0)
    return BasebandGraph(LiteFlowNet(finest=4, front_end="baseband")).eval()


def press(strain: float, shape: tuple[int, int], *, fs_mhz: float = 40.0, seed: int = 0) -> SimulatedScanner:
    scan = Scan(fs_hz=1e6 * fs_mhz, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.12)
    config = ScannerConfig(scan=scan, shape=shape, peak_strain=strain, period_frames=2, tilt=0.1)
    return SimulatedScanner(config, seed)


def pair_of(scanner: SimulatedScanner) -> FramePair:
    return FramePair(scanner.frame(0).samples, scanner.frame(1).samples, scanner.scan.cycles_per_sample)


def true_strain(scanner: SimulatedScanner) -> NDArray[np.float32]:
    return axial_strain(scanner.truth(0, 1)[0], round(15.8 / scanner.scan.cycles_per_sample) | 1)


def test_strain_is_the_slope_of_the_displacement(graph: BasebandGraph) -> None:
    displacement, strain, quality = by_torch(graph, pair_of(press(0.02, (700, 64))))
    assert displacement.shape == (2, 700, 64)
    assert strain.shape == quality.shape == (700, 64)
    slope = axial_strain(displacement[0], 97)
    assert np.abs(strain - slope).max() < 2e-4  # 15.8 wavelengths are 97.2 samples
    assert strain.mean() > 0.01  # compression is positive


@pytest.mark.parametrize("window", [2.0, 15.8, 60.0])
@pytest.mark.parametrize("last", [193, 200, 255])
def test_the_slope_is_that_of_a_line_fitted_to_each_window(window: float, last: int) -> None:
    graph = BasebandGraph(LiteFlowNet(finest=4, front_end="baseband"), strain_window=window)
    field = torch.randn(1, 1, 256, 32, generator=torch.Generator().manual_seed(1))
    at = np.arange(256.0)
    found = graph._slope(field, torch.from_numpy((at <= last).astype(np.float32)))
    half = min((last + 1) / 2, window * 3 / 2)
    for row in range(min(last + 2, 256)):  # one beyond: the last sample lies between two rows
        centre = min(max(row, half - 0.5), last + 0.5 - half)
        weight = (half + 0.5 - np.abs(at - centre)).clip(0, 1) * (at <= last)
        slope, _ = np.polyfit(at, field[0, 0].numpy(), 1, w=np.sqrt(weight))
        np.testing.assert_allclose(found[0, 0, row], slope, atol=1e-5)


def test_a_short_frame_has_a_window_of_its_own_length(graph: BasebandGraph) -> None:
    _, strain, quality = by_torch(graph, pair_of(press(0.01, (80, 64))))
    assert np.isfinite(strain).all()
    assert np.isfinite(quality).all()
    assert np.ptp(strain, axis=0).max() < 2e-3


def test_one_tissue_gives_one_image_whatever_samples_it(graph: BasebandGraph) -> None:
    """At 40 and 60 MHz: the same scatterers, for the phantom's cloud is drawn in millimetres."""
    images = []
    for fs_mhz, rows in ((40.0, 800), (60.0, 1200)):
        scanner = press(0.01, (rows, 64), fs_mhz=fs_mhz)
        images.append((by_torch(graph, pair_of(scanner))[1], true_strain(scanner)))
    errors = [np.sqrt(np.mean((got - true) ** 2)) for got, true in images]
    assert max(errors) < 1.3 * min(errors)  # different speckle, the same error


def fading(scanner: SimulatedScanner, below: int, kind: str) -> FramePair:
    """The pair with its deeper rows lost, in noise or in zeros."""
    rng = np.random.default_rng(3)
    frames = []
    for k in (0, 1):
        frame = scanner.frame(k).samples.copy()
        lost = frame[below:]
        lost[:] = 0 if kind == "zeros" else rng.normal(0, 4000, lost.shape)
        frames.append(frame)
    return FramePair(*frames, scanner.scan.cycles_per_sample)


@pytest.mark.parametrize("kind", ["noise", "zeros"])
def test_nothing_is_readable_whose_strain_reaches_into_what_is_not_tracked(
    graph: BasebandGraph, kind: str
) -> None:
    scanner = press(0.0143, (512, 96))
    _, strain, quality = by_torch(graph, fading(scanner, 380, kind))
    expected = true_strain(scanner)
    readable = quality >= READABLE_QUALITY
    wrong = np.abs(strain - expected) > 0.003
    assert (wrong & readable).sum() <= 0.01 * readable.sum()
    assert (readable & ~wrong)[:280].sum() >= 0.9 * (~wrong)[:280].sum()
    assert not readable[380:].any()
    mean, share = readable_mean(strain, quality)
    assert mean == pytest.approx(expected[:320].mean(), rel=0.05)
    assert 0.4 < share < 0.75


@pytest.mark.parametrize("fall_db_mm", [3, 6])
def test_echoes_that_fade_into_noise_show_no_false_strain(graph: BasebandGraph, fall_db_mm: float) -> None:
    scanner = press(0.0143, (1024, 96))
    depth_mm = np.arange(1024)[:, None] * scanner.scan.axial_pitch_mm
    rng = np.random.default_rng(7)
    frames = [
        np.rint(
            scanner.frame(k).samples * 10 ** (-fall_db_mm * depth_mm / 20) + rng.normal(0, 40, (1024, 96))
        ).astype(np.int16)
        for k in (0, 1)
    ]
    _, strain, quality = by_torch(graph, FramePair(*frames, scanner.scan.cycles_per_sample))
    readable = quality >= READABLE_QUALITY
    wrong = np.abs(strain - true_strain(scanner)) > 0.003
    assert (wrong & readable).sum() <= 0.01 * readable.sum()
    assert 0.2 < readable.mean() < 0.98


@pytest.mark.parametrize("gain", [1 / 10, 1 / 3, 3.0, 5.0])
def test_a_gain_between_the_frames_changes_no_strain(graph: BasebandGraph, gain: float) -> None:
    scanner = press(0.0143, (512, 96))
    plain = pair_of(scanner)
    louder = FramePair(plain.reference, np.clip(plain.current * gain, -32768, 32767).astype(np.int16), CYCLES)
    got, expected = by_torch(graph, louder)[1], by_torch(graph, plain)[1]
    assert np.sqrt(np.mean((got - expected) ** 2)) < 2e-4


@pytest.mark.parametrize("what", ["constant", "noise"])
def test_frames_without_tissue_are_finite_and_not_readable(graph: BasebandGraph, what: str) -> None:
    rng = np.random.default_rng(0)
    frames = [
        np.full((300, 64), 7, np.int16)
        if what == "constant"
        else rng.normal(0, 900, (300, 64)).astype(np.int16)
        for _ in range(2)
    ]
    displacement, strain, quality = by_torch(graph, FramePair(*frames))
    assert np.isfinite(displacement).all()
    assert np.isfinite(strain).all()
    assert (quality >= READABLE_QUALITY).mean() < 0.01


@pytest.mark.parametrize("motion", [0.7, 1.0, 1.2])
def test_a_graph_that_follows_finds_the_motion_from_one_that_is_like_it(
    graph: BasebandGraph, motion: float
) -> None:
    scanner = press(0.03, (700, 64))
    pair, truth = pair_of(scanner), scanner.truth(0, 1)
    known = Estimate(displacement=truth, strain=truth[0], quality=np.ones_like(truth[0]))
    inputs = graph_inputs("baseband", *pair)
    inputs = (*inputs, start_of(known, CYCLES, len(inputs[2]), scale=motion))
    with torch.inference_mode():
        displacement, _, quality = FollowGraph(graph)(*(torch.from_numpy(part) for part in inputs))
    error = (displacement.numpy() - truth)[0]
    assert (quality.numpy() >= READABLE_QUALITY).mean() > 0.95
    assert np.sqrt(np.mean(error[32:-32, 4:-4] ** 2)) < 0.05


def test_what_follows_nothing_that_it_could_find_is_not_readable(graph: BasebandGraph) -> None:
    """A start that is 20 wavelengths off: quality tells, on which the runtime relies."""
    scanner = press(0.02, (512, 64))
    start = np.full(START_SHAPE, 20.0, np.float32)
    start[2] = 1
    inputs = (*graph_inputs("baseband", *pair_of(scanner)), start)
    with torch.inference_mode():
        quality = FollowGraph(graph)(*(torch.from_numpy(part) for part in inputs))[2].numpy()
    assert (quality >= READABLE_QUALITY).mean() < 0.02


def test_what_follows_needs_refinement() -> None:
    graph = BasebandGraph(LiteFlowNet(finest=5, front_end="baseband"), refinement="off")
    frames = [torch.zeros((128, 32), dtype=torch.int16)] * 2
    depths = torch.from_numpy(depth_grid(64, CYCLES))
    with pytest.raises(ValueError, match="refinement: got off"):
        FollowGraph(graph)(*frames, depths, torch.zeros(START_SHAPE))


def test_a_strain_window_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"strain_window: got 0\.5 wavelengths"):
        BasebandGraph(LiteFlowNet(finest=5, front_end="baseband"), strain_window=0.5)
