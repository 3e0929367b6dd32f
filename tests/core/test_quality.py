"""Metrics by their definitions, the running sums beside brute force."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from usert.errors import OptionError
from usert.quality import Window, cnr, local_ncc, nrmse, rmse, snre, strain_ratio, warped_ncc

TARGET = Window(rows=(0, 4), lines=(0, 2))
BACKGROUND = Window(rows=(4, 8), lines=(0, 2))


def halves(target: list[float], background: list[float]) -> np.ndarray[Any, Any]:
    """Strain whose target and background alternate between two values each: their mean and σ are exact."""
    return np.repeat([target * 2, background * 2], 2, axis=1).reshape(8, 2)


def test_contrast_follows_equation_8_with_standard_deviations() -> None:
    strain = halves([0.004, 0.006], [0.009, 0.011])
    # means 0.005 and 0.010, σ 0.001 both: CNR = sqrt(2 · 0.005² / (2 · 0.001²)) = 5
    assert cnr(strain, TARGET, BACKGROUND) == pytest.approx(5)
    assert cnr(strain, BACKGROUND, TARGET) == pytest.approx(5)
    assert strain_ratio(strain, TARGET, BACKGROUND) == pytest.approx(0.5)
    assert snre(strain, TARGET) == pytest.approx(5)
    assert snre(-strain, BACKGROUND) == pytest.approx(10)


def test_metrics_of_constants_and_gaps() -> None:
    flat = halves([0.01, 0.01], [0.02, 0.02])
    assert cnr(flat, TARGET, BACKGROUND) == np.inf
    assert snre(flat, TARGET) == np.inf
    assert np.isnan(cnr(np.zeros((8, 2)), TARGET, BACKGROUND))
    assert np.isnan(strain_ratio(np.zeros((8, 2)), TARGET, BACKGROUND))
    flat[1, 1] = np.nan
    assert np.isnan(cnr(flat, TARGET, BACKGROUND))
    assert np.isnan(snre(flat, TARGET))


def test_errors_against_truth() -> None:
    truth = np.array([[3.0, 4.0]])
    estimate = np.array([[4.0, 3.0]])
    assert rmse(estimate, truth) == pytest.approx(1)
    assert nrmse(estimate, truth) == pytest.approx(1 / np.sqrt(12.5))
    assert nrmse(truth * 1.1, truth) == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"\(1, 2\) .*\(2, 1\)"):
        rmse(truth, truth.T)


def test_a_window_is_read_from_text_and_cut_from_an_image() -> None:
    window = Window.parse("1230:1450, 170:212")
    assert window == Window(rows=(1230, 1450), lines=(170, 212))
    assert str(window) == "1230:1450,170:212"
    assert window.of(np.zeros((3, 2304, 384))).shape == (3, 220, 42)
    with pytest.raises(OptionError, match=r"1230:1450,170:212: .*0:1400,0:384"):
        window.of(np.zeros((1400, 384)))
    for text in ("", "1:2", "1:2,3", "a:b,1:2", "1:2:3,4:5", "-1:4,2:3", "1:2,3:4,5:6"):
        with pytest.raises(OptionError, match=re.escape(f"got {text!r}")):
            Window.parse(text)
    for text in ("5:5,0:2", "0:2,7:3"):
        with pytest.raises(OptionError, match=f"{text}: "):
            Window.parse(text)


@pytest.mark.parametrize("amplitude", [1.0, 1e-23, 1e6])
def test_local_ncc_is_the_correlation_in_each_window(amplitude: float) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 12)) * amplitude + 3 * amplitude
    b = a + 0.5 * amplitude * rng.standard_normal(a.shape)
    valid = rng.random(a.shape) > 0.2
    b[7, 7] = np.nan
    fast = local_ncc(a, b, (9, 5), valid)
    use = valid & np.isfinite(b)
    for i in range(40):
        for j in range(12):
            part = slice(max(i - 4, 0), i + 5), slice(max(j - 2, 0), j + 3)
            x, y = a[part][use[part]], b[part][use[part]]
            assert fast[i, j] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)


def test_local_ncc_knows_gain_sign_and_offset() -> None:
    a = np.random.default_rng(1).standard_normal((100, 10)).astype(np.float32)
    np.testing.assert_allclose(local_ncc(a, 3 * a + 7), 1, atol=1e-6)
    np.testing.assert_allclose(local_ncc(a, -a), -1, atol=1e-6)


def test_constant_windows_correlate_with_nothing() -> None:
    a = np.random.default_rng(2).standard_normal((200, 10))
    b = a.copy()
    b[:100] = 0.7
    ncc = local_ncc(a, b)
    assert (ncc[: 100 - 32] == 0).all()
    np.testing.assert_allclose(ncc[132:], 1, atol=1e-6)
    for constant in (0.0, 0.1, 1e9):
        assert (local_ncc(a, np.full_like(a, constant)) == 0).all()
    assert (local_ncc(a, np.full_like(a, np.nan)) == 0).all()
    assert (local_ncc(a, a, valid=np.zeros(a.shape, bool)) == 0).all()


def test_the_right_displacement_brings_two_frames_together() -> None:
    r = np.arange(400.0)[:, np.newaxis]
    phases = np.random.default_rng(3).uniform(0, 2 * np.pi, (12, 8))
    frequencies = np.linspace(0.1, 0.2, 12)

    def image(at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        waves = np.cos(2 * np.pi * frequencies[:, np.newaxis, np.newaxis] * at + phases[:, np.newaxis])
        return np.asarray(waves.sum(axis=0))

    # post(r + d(r)) = pre(r) for d = -0.01 r, so post(x) = pre(x / 0.99)
    d = np.zeros((2, 400, 8))
    d[0] = -0.01 * r
    pre, post = image(r + np.zeros(8)), image(r / 0.99 + np.zeros(8))
    ncc = warped_ncc(pre, post, d)
    assert ncc[5:].min() > 0.999
    assert np.median(warped_ncc(pre, post, 0 * d)[200:]) < 0.9
    d[0, 100] = 1e4
    assert (warped_ncc(pre, post, d)[100] == 0).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_pixel_reaches_half_a_sample_or_line_beyond_the_frame(axis: int) -> None:
    """Hundredths of a line beyond the outermost one change nothing; what leads farther correlates with nothing."""
    frame = np.random.default_rng(4).standard_normal((80, 12))
    still = np.zeros((2, 80, 12))
    edges = (np.s_[0], np.s_[-1]) if axis == 0 else (np.s_[:, 0], np.s_[:, -1])
    for sign, edge in zip((-1, 1), edges, strict=True):
        for beyond in (0.01, 0.49, 0.51, 3.0):
            moved = still.copy()
            moved[axis][edge] = sign * beyond
            ncc = warped_ncc(frame, frame, moved)[edge]
            if beyond < 0.5:
                np.testing.assert_allclose(ncc, 1, atol=1e-6)
            else:
                assert (ncc == 0).all()


def test_local_ncc_wrong_arguments() -> None:
    a = np.zeros((4, 4))
    with pytest.raises(ValueError, match=r"\(4, 4\) .*\(3, 4\)"):
        local_ncc(a, a[:3])
    with pytest.raises(ValueError, match=r"window: got \(64, 5\)"):
        local_ncc(a, a, (64, 5))
