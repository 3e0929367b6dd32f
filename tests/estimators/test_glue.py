"""GLUE on pairs whose motion is known, and its linear system beside a dense one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from usert.errors import MissingExtraError, OptionError
from usert.estimators import block_matching, global_time_delay
from usert.estimators.glue import SHARP, SMOOTH, _solve
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import rmse
from usert.strain import axial_strain
from usert.warp import warp

pytest.importorskip("scipy")
MakeFrame = Callable[..., RFFrame]


def test_the_solution_minimises_the_cost() -> None:
    """The cost of the docstring, written out term by term, has no slope at the solution."""
    rng = np.random.default_rng(0)
    rows, lines = 12, 7
    slope, start = rng.standard_normal((2, 2, rows, lines))
    mismatch = rng.standard_normal((rows, lines))
    alpha1, alpha2, beta1, beta2 = weights = (3.0, 0.7, 2.0, 0.4)
    strain_a, strain_l = np.diff(start[0], axis=0).mean(), np.diff(start[1], axis=1).mean()

    def cost(update: np.ndarray) -> float:
        a, l = start + update  # noqa: E741
        return float(
            np.sum((mismatch - (slope * update).sum(axis=0)) ** 2)
            + alpha1 * np.sum((np.diff(a, axis=0) - strain_a) ** 2)
            + alpha2 * np.sum(np.diff(a, axis=1) ** 2)
            + beta1 * np.sum(np.diff(l, axis=0) ** 2)
            + beta2 * np.sum((np.diff(l, axis=1) - strain_l) ** 2)
        )

    update = _solve(slope, mismatch, start, weights)
    least = cost(update)
    for _ in range(20):
        direction = rng.standard_normal(update.shape)
        up, down = cost(update + 1e-3 * direction), cost(update - 1e-3 * direction)
        assert min(up, down) > least
        assert up - down == pytest.approx(0, abs=1e-4 * (up + down - 2 * least) + 1e-8 * least)


def test_a_right_first_estimate_of_uniform_strain_stays() -> None:
    rows, lines = 64, 16
    z, x = np.mgrid[:rows, :lines].astype(float)
    start = np.stack([-0.01 * z - 2, 0.01 * x])
    slope = np.random.default_rng(1).standard_normal((2, rows, lines))
    update = _solve(slope, np.zeros((rows, lines)), start, SHARP)
    assert abs(update).max() < 1e-9


@pytest.mark.parametrize("shift", [-3.37, 0.4])
def test_finds_a_rigid_shift(make_frame: MakeFrame, shift: float) -> None:
    post = make_frame(shape=(400, 12), dtype="float32").samples
    pre, _ = warp(post, np.stack([np.full(post.shape, shift), np.zeros(post.shape)]))
    d = global_time_delay(pre, post)
    assert d.dtype == np.float32
    assert abs(d[0, 40:-40] - shift).max() < 0.02


@pytest.fixture(scope="module")
def pressed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scanner = SimulatedScanner(ScannerConfig(shape=(512, 64), peak_strain=0.02), seed=3)
    return scanner.frame(0).samples, scanner.frame(20).samples, scanner.truth(0, 20)


def test_truth_of_the_simulated_scanner(pressed: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Closer than the block matching that it starts from, in displacement and far closer in strain."""
    pre, post, truth = pressed
    first = block_matching(pre, post)
    d = global_time_delay(pre, post, initial=first)
    inside = np.s_[48:-48, 4:-4]
    assert rmse(d[0][inside], truth[0][inside]) < min(0.15, rmse(first[0][inside], truth[0][inside]))
    strains = [axial_strain(x[0], 33)[inside] for x in (d, first, truth)]
    assert rmse(strains[0], strains[2]) < 0.6 * rmse(strains[1], strains[2])
    assert strains[0].mean() == pytest.approx(strains[2].mean(), rel=0.03)
    np.testing.assert_array_equal(global_time_delay(pre, post), d)


def test_the_smooth_weights_are_smoother(pressed: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    pre, post, _ = pressed
    bends = [
        np.abs(np.diff(global_time_delay(pre, post, weights=weights)[0], 2, axis=0)).mean()
        for weights in (SHARP, SMOOTH)
    ]
    assert bends[1] < 0.8 * bends[0]


def test_amplitude_does_not_matter(make_frame: MakeFrame) -> None:
    post = make_frame(shape=(256, 8), dtype="float32").samples
    pre, _ = warp(post, np.stack([np.full(post.shape, 0.4), np.zeros(post.shape)]))
    plain = global_time_delay(pre, post)
    np.testing.assert_allclose(global_time_delay(3e4 * pre, 3e4 * post), plain, atol=1e-3)


def test_impossible_arguments_are_refused(make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = make_frame(shape=(128, 8), dtype="float32").samples
    for weights in ((5.0, 1.0, 5.0, 0.0), (5.0, 1.0, float("nan"), 1.0)):
        with pytest.raises(OptionError, match="weights"):
            global_time_delay(frame, frame, weights=weights)
    with pytest.raises(OptionError, match="passes"):
        global_time_delay(frame, frame, passes=0)
    with pytest.raises(ValueError, match="initial"):
        global_time_delay(frame, frame, initial=np.zeros((2, 8, 128)))

    def absent(name: str, *_: object) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingExtraError, match=r"usert\[estimators\]"):
        global_time_delay(frame, frame)
