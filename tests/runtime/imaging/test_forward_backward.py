"""There and back again: fields whose inverse is known in closed form, and what cannot be compared."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.forward_backward import Consistency, consistency, there_and_back

SHAPE = (128, 32)
ROWS, LINES = np.meshgrid(np.arange(SHAPE[0], dtype=float), np.arange(SHAPE[1], dtype=float), indexing="ij")
NONE = (None,) * 6


def estimate_of(axial: Any, lateral: Any = 0.0, *, strain: Any = 0.0, quality: Any = 1.0) -> Estimate:
    def whole(values: Any) -> NDArray[np.float32]:
        return np.broadcast_to(np.asarray(values, np.float32), SHAPE).copy()

    return Estimate(
        displacement=np.stack([whole(axial), whole(lateral)]), strain=whole(strain), quality=whole(quality)
    )


def pressed(strain: float) -> tuple[Estimate, Estimate]:
    """d(r) = -ε r, and its inverse: r' = (1 - ε) r, so d_b(r') = ε r' / (1 - ε), of the strain -ε / (1 - ε)."""
    back = strain / (1 - strain)
    return estimate_of(-strain * ROWS, strain=strain), estimate_of(back * ROWS, strain=-back)


def figures(found: Consistency) -> tuple[float | None, ...]:
    return (
        found.axial_rms_samples,
        found.axial_median_samples,
        found.axial_p95_samples,
        found.lateral_rms_lines,
        found.agreeing_share,
        found.strain_rms_percent,
    )


def test_two_fields_of_nothing_agree_everywhere() -> None:
    found = consistency(estimate_of(0.0), estimate_of(0.0))
    assert figures(found) == (0, 0, 0, 0, 1, 0)
    assert found.compared_share == 1


def test_a_translation_and_its_inverse_agree_wherever_both_see() -> None:
    found = consistency(estimate_of(4.5, -1.25), estimate_of(-4.5, 1.25))
    assert figures(found) == pytest.approx((0, 0, 0, 0, 1, 0))
    assert found.compared_share == pytest.approx((123 / 128) * (30 / 32))  # rows 0 to 122, lines 2 to 31


@pytest.mark.parametrize("strain", [0.02, -0.0193, 0.002])
def test_a_uniform_press_and_its_inverse_agree_strain_included(strain: float) -> None:
    forward, backward = pressed(strain)
    found = consistency(forward, backward)
    assert figures(found) == pytest.approx((0, 0, 0, 0, 1, 0), abs=1e-5)
    stated = replace(backward, strain=np.full(SHAPE, -strain, np.float32))
    assert consistency(forward, stated).strain_rms_percent == pytest.approx(100 * strain**2 / (1 + strain))


def test_a_press_that_is_only_turned_round_misses_by_its_second_order() -> None:
    forward = estimate_of(-0.02 * ROWS)
    found = consistency(forward, estimate_of(0.02 * ROWS))
    missed = 0.02**2 * ROWS  # ε (1 - ε) r - ε r, in size
    assert found.axial_rms_samples == pytest.approx(np.sqrt(np.mean(missed**2)), rel=1e-4)
    assert found.axial_median_samples == pytest.approx(np.median(missed), rel=1e-4)
    assert found.axial_p95_samples == pytest.approx(np.quantile(missed, 0.95), rel=1e-4)


def test_what_is_missed_is_told_by_axis_and_by_the_limit() -> None:
    off = np.where(ROWS < 32, 0.5, 0.125)
    found = consistency(estimate_of(0.0), estimate_of(off, 0.25, strain=0.01))
    assert found.agreeing_share == 0.75
    assert consistency(estimate_of(0.0), estimate_of(off), limit_samples=0.6).agreeing_share == 1
    assert found.axial_rms_samples == pytest.approx(np.sqrt(0.25 * 0.5**2 + 0.75 * 0.125**2))
    assert found.axial_median_samples == 0.125
    assert found.axial_p95_samples == 0.5
    assert found.lateral_rms_lines == 0.25
    assert found.strain_rms_percent == pytest.approx(100 * 0.01 / 0.99)


def test_the_backward_field_is_read_where_the_forward_one_leads() -> None:
    forward, backward = estimate_of(3.5, 2.0), estimate_of(0.1 * ROWS, 0.2 * LINES)
    missed = there_and_back(forward.displacement, backward.displacement)
    assert missed[0, :124, :30] == pytest.approx(3.5 + 0.1 * (ROWS + 3.5)[:124, :30], abs=1e-5)
    assert missed[1, :124, :30] == pytest.approx(2.0 + 0.2 * (LINES + 2.0)[:124, :30], abs=1e-5)
    assert np.isnan(missed[:, 125:]).all()
    assert np.isnan(missed[:, :, 30:]).all()


def test_what_leads_outside_only_has_no_figures() -> None:
    found = consistency(estimate_of(1000.0), estimate_of(-1000.0))
    assert figures(found) == NONE
    assert found.compared_share == 0


def test_only_what_both_call_readable_is_compared() -> None:
    forward = estimate_of(np.where(ROWS < 64, 0.0, 9.0), quality=np.where(ROWS < 64, 0.7, 0.69))
    backward = estimate_of(np.where(LINES < 16, 0.0, 9.0), quality=np.where(LINES < 16, 0.7, 0.0))
    found = consistency(forward, backward)
    assert found.compared_share == 0.25
    assert figures(found) == (0, 0, 0, 0, 1, 0)
    assert figures(consistency(forward, backward, readable_quality=0.8)) == NONE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["displacement", "strain", "quality"])
def test_what_is_not_finite_is_left_out(name: str, value: float) -> None:
    forward, backward = estimate_of(0.0), estimate_of(0.0)
    for estimate in (forward, backward):
        getattr(estimate, name)[..., 40:60, 3] = value
    found = consistency(forward, backward)
    assert figures(found) == (0, 0, 0, 0, 1, 0)
    nowhere = replace(backward, **{name: np.full_like(getattr(backward, name), value)})
    for pair in ((forward, nowhere), (nowhere, backward), (nowhere, nowhere)):
        assert all(figure is None or np.isfinite(figure) for figure in figures(consistency(*pair)))
    json.dumps(asdict(consistency(nowhere, nowhere)), allow_nan=False)


def test_the_largest_numbers_of_single_precision_stay_finite() -> None:
    most = float(np.finfo(np.float32).max)
    found = consistency(estimate_of(0.0), estimate_of(most, -most, strain=-most))
    assert all(figure is not None and np.isfinite(figure) for figure in figures(found))


def test_a_backward_strain_that_folds_the_tissue_is_not_compared() -> None:
    found = consistency(estimate_of(0.0), estimate_of(0.0, strain=np.where(ROWS < 64, 1.0, 0.0)))
    assert found.strain_rms_percent == 0


def test_fields_are_those_of_json() -> None:
    found = consistency(*pressed(0.01))
    fields = json.loads(json.dumps(asdict(found), allow_nan=False))
    assert Consistency(**fields) == found


def test_two_shapes_are_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"\(2, 128, 32\) and \(2, 127, 32\), expected"):
        there_and_back(estimate_of(0.0).displacement, estimate_of(0.0).displacement[:, :-1])
