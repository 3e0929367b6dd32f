"""Block matching on pairs whose motion is known, and its parts by their formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from usert.errors import FrameError, OptionError
from usert.estimators import ESTIMATORS, block_matching
from usert.estimators.ncc import _best_path, _Correlator, _cosine_peak, _parabola_peak
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import local_ncc
from usert.strain import axial_strain
from usert.warp import warp

MakeFrame = Callable[..., RFFrame]


def constant_field(shape: tuple[int, int], axial: float, lateral: float = 0.0) -> np.ndarray:
    return np.stack([np.full(shape, axial), np.full(shape, lateral)])


@pytest.mark.parametrize("shift", [-20.0, -3.37, -0.5, 0.0, 0.25, 7.81])
def test_finds_a_rigid_shift_between_samples(make_frame: MakeFrame, shift: float) -> None:
    """post(r + shift) = pre(r), moved by a quintic; where the window holds tissue of both frames."""
    post = make_frame(shape=(512, 12), dtype="float32").samples
    pre, _ = warp(post, constant_field(post.shape, shift))
    d = block_matching(pre, post, max_lateral=0)
    assert d.shape == (2, 512, 12)
    assert d.dtype == np.float32
    assert (d[1] == 0).all()
    inside = d[0, 80:-80]
    assert abs(inside - shift).max() < 0.03
    assert abs(inside.mean() - shift) < 0.01


@pytest.mark.parametrize("lines", [-2, 1])
def test_finds_a_lateral_shift_of_whole_lines(make_frame: MakeFrame, lines: int) -> None:
    """Echoes as wide as two lines; the border lines see tissue of one frame only."""
    single = make_frame(shape=(256, 41), dtype="float32").samples
    wide = single[:, :-1] + single[:, 1:]
    pre, post = wide[:, 4:36], wide[:, 4 - lines : 36 - lines]
    d = block_matching(pre, post)
    inside = d[:, 48:-48, 5:-5]
    assert abs(inside[1] - lines).max() < 0.25
    assert inside[1].mean() == pytest.approx(lines, abs=0.03)
    assert abs(inside[0]).max() < 0.02


def test_truth_of_the_simulated_scanner() -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(512, 64), peak_strain=0.02), seed=3)
    d = block_matching(scanner.frame(0).samples, scanner.frame(20).samples)
    truth = scanner.truth(0, 20)
    inside = np.s_[48:-48, 4:-4]
    error = d[0][inside] - truth[0][inside]
    assert np.sqrt(np.mean(error**2)) < 0.25
    assert np.median(abs(error)) < 0.1
    strain, true_strain = (axial_strain(x[0], 93)[inside] for x in (d, truth))
    assert strain.mean() == pytest.approx(true_strain.mean(), rel=0.05)
    assert strain.mean() > 0.01  # compression is positive


def test_the_two_directions_are_opposite() -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(256, 48), peak_strain=0.01), seed=5)
    pre, post = scanner.frame(0).samples, scanner.frame(20).samples
    forth, back = block_matching(pre, post), block_matching(post, pre)
    assert np.median(forth[0] + warp(back[0], forth)[0]) == pytest.approx(0, abs=0.05)


def test_amplitude_and_offset_do_not_matter(make_frame: MakeFrame) -> None:
    post = make_frame(shape=(256, 8), dtype="float32").samples
    pre, _ = warp(post, constant_field(post.shape, 1.3))
    plain = block_matching(pre, post)
    np.testing.assert_allclose(block_matching(3e4 * pre + 500, 0.01 * post - 2), plain, atol=1e-3)


def test_correlations_by_brute_force(make_frame: MakeFrame) -> None:
    """Windows cut at the borders, at every shift that keeps all of the second frame's samples in the frame."""
    first, second = (make_frame(seed, (96, 9), "float32").samples.astype(float) for seed in (1, 2))
    correlator = _Correlator(first, second, (17, 3), 4, (5, 1))
    np.testing.assert_allclose(correlator.at(0, 0), local_ncc(first, second, (17, 3))[::4], atol=1e-5)
    for axial, lateral in ((3, 0), (-5, 1), (2, -1)):
        got = correlator.at(axial, lateral)
        for k, line in ((5, 4), (12, 6)):
            a = first[4 * k - 8 : 4 * k + 9, line - 1 : line + 2]
            b = second[4 * k - 8 + axial : 4 * k + 9 + axial, line - 1 + lateral : line + 2 + lateral]
            assert got[k, line] == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-5)


def test_a_path_passes_over_a_false_peak() -> None:
    """Shift 2 is right at every depth but one, where shift 6 correlates better."""
    score = np.zeros((9, 1, 8), np.float32)
    score[:, 0, 2] = 0.8
    score[4, 0, 6] = 0.95
    assert (_best_path(score) == 2).all()
    slope = np.zeros((6, 1, 8), np.float32)
    slope[np.arange(6), 0, np.arange(6)] = 0.8
    np.testing.assert_array_equal(_best_path(slope)[:, 0], np.arange(6))


def test_peaks_between_samples_are_exact() -> None:
    for delta in (-0.4, 0.0, 0.3):
        cosine = [np.float32([0.9 * np.cos(0.98 * (k - delta))]) for k in (-1, 0, 1)]
        assert _cosine_peak(*cosine)[0] == pytest.approx(delta, abs=1e-5)
        parabola = [np.float32([0.9 - 0.2 * (k - delta) ** 2]) for k in (-1, 0, 1)]
        assert _parabola_peak(*parabola)[0] == pytest.approx(delta, abs=1e-5)


def test_constant_regions_give_finite_values(make_frame: MakeFrame) -> None:
    post = make_frame(shape=(512, 8), dtype="float32").samples.copy()
    post[200:] = 0  # a shadow
    d = block_matching(post, post)
    assert np.isfinite(d).all()
    assert abs(d[0, :180]).max() < 0.02


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda x: x[:, :-1], "one shape"),
        (lambda x: np.where(np.arange(x.shape[0])[:, None] == 7, np.nan, x), "NaN"),
        (lambda x: 0 * x + 3, "constant"),
    ],
)
def test_frames_that_are_no_pair_are_refused_in_one_line(
    make_frame: MakeFrame, name: str, spoil: Callable[[np.ndarray], np.ndarray], says: str
) -> None:
    good = make_frame(shape=(128, 8), dtype="float32").samples
    for pair in ((good, spoil(good)), (spoil(good), good)):
        with pytest.raises(FrameError, match=says) as caught:
            ESTIMATORS[name](*pair)
        assert "\n" not in str(caught.value)


def test_impossible_settings_are_refused(make_frame: MakeFrame) -> None:
    frame = make_frame(shape=(128, 8)).samples
    for window in ((96, 5), (98, 5), (97, 4), (1, 1)):
        with pytest.raises(OptionError, match="window"):
            block_matching(frame, frame, window=window)
    with pytest.raises(OptionError, match="range"):
        block_matching(frame, frame, max_axial=0)
