"""An answer passes only if it is one: finite, of the right shapes, near enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from usert.errors import EngineError
from usert.runtime.bench.accuracy import Difference, Scene, check_answer
from usert.runtime.imaging.estimate import Estimate

SHAPE = (40, 12)


def answer(displacement: float = 0.0, strain: float = 0.0, quality: float = 0.5) -> Estimate:
    return Estimate(
        displacement=np.full((2, *SHAPE), displacement, np.float32),
        strain=np.full(SHAPE, strain, np.float32),
        quality=np.full(SHAPE, quality, np.float32),
    )


def test_the_distance_of_constant_fields_is_their_difference() -> None:
    distance = Difference.between(answer(0.5, 0.01, 0.75), answer(0.25, -0.01, 0.5))
    assert distance.max_abs_displacement_samples == distance.rms_displacement_samples == 0.25
    assert distance.max_abs_strain == pytest.approx(0.02)
    assert distance.rms_strain_percent == pytest.approx(2.0)
    assert distance.max_abs_quality == 0.25


def test_one_pixel_far_off_is_in_the_largest_and_hardly_in_the_rms() -> None:
    far = answer()
    far.displacement[0, 3, 4] = 1.0
    distance = Difference.between(far, answer())
    assert distance.max_abs_displacement_samples == 1.0
    assert distance.rms_displacement_samples == pytest.approx((2 * SHAPE[0] * SHAPE[1]) ** -0.5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            replace(answer(), strain=np.zeros((40, 11), np.float32)),
            r"strain: got shape \(40, 11\), expected \(40, 12\)",
        ),
        (answer(strain=float("nan")), "strain: got 480 of 480 values that are NaN or infinite"),
        (answer(quality=float("inf")), "quality: got 480 of 480"),
        (answer(displacement=0.02), "rms_displacement_samples: got 0.02 .* int8 allows 0.01"),
    ],
)
def test_a_wrong_answer_is_one_line(wrong: Estimate, message: str) -> None:
    with pytest.raises(EngineError, match=f"wrong answer: {message}"):
        check_answer(
            wrong,
            SHAPE,
            reference=answer(),
            allowed={"rms_displacement_samples": 0.01, "cnr_difference": 0.0},
            precision="int8",
        )


def test_of_a_largest_difference_it_is_told_how_many_numbers_are_so_far_off() -> None:
    far = answer()
    far.quality[:2, 3] += 0.25
    with pytest.raises(
        EngineError, match=r"max_abs_quality: got 0\.25 .* allows 0\.1 \(at 2 of 480 numbers\)"
    ):
        check_answer(far, SHAPE, reference=answer(), allowed={"max_abs_quality": 0.1}, precision="int8")


def test_what_lies_within_the_tolerance_passes_and_without_a_reference_any_numbers_do() -> None:
    check_answer(answer(0.005), SHAPE, reference=answer(), allowed={"rms_displacement_samples": 0.01})
    check_answer(answer(5.0), SHAPE, reference=None)


def test_the_scene_moves_from_frame_to_frame_and_back() -> None:
    scene = Scene.of((64, 32))
    assert len(scene.frames) == 5
    assert scene.truth.shape == (64, 32)
    assert np.abs(scene.truth).max() > 0.1
    assert [frame.sequence for frame in scene.to_and_fro] == [9, 10, 11, 12, 13, 12, 11, 10]
    assert scene.pair[0] is scene.frames[0].samples
