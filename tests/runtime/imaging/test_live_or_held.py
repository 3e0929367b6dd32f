"""When images are held, idle and live again: states in order."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from usert.errors import OptionError
from usert.runtime.imaging.image_quality import ImageQuality, ImageQualityRule
from usert.runtime.imaging.live_or_held import HoldControl, HoldRule


def seen(score: float, evident: float) -> ImageQuality:
    return ImageQuality(
        score=score,
        readable_share=score,
        readable_strain=evident,
        mean_strain=evident,
        mean_quality=score,
        evident_strain=evident,
        moving=evident >= ImageQualityRule().still_strain,
        compression=0.0,
        warnings=(),
    )


GOOD, POOR, STILL = seen(0.9, 0.008), seen(0.2, 0.008), seen(0.9, 0.0001)
BETWEEN_SCORES, BETWEEN_STRAINS = seen(0.45, 0.008), seen(0.9, 0.0006)


def states(*images: ImageQuality) -> list[str]:
    hold = HoldControl()
    return [hold.step(image) for image in images]


def test_poor_images_hold_the_last_good_one() -> None:
    assert states(GOOD, POOR, POOR, GOOD) == ["live", "held", "held", "live"]


def test_before_the_first_good_image_there_is_none_to_hold() -> None:
    hold = HoldControl()
    assert hold.step(POOR) == "idle"
    assert hold.reason == "quality"
    assert hold.step(STILL) == "idle"
    assert hold.reason == "still"


def test_a_turn_of_the_hand_is_held_and_rest_is_idle() -> None:
    assert states(GOOD, STILL, STILL, GOOD) == ["live", "held", "held", "live"]
    assert states(GOOD, *[STILL] * 5) == ["live", "held", "held", "held", "idle", "idle"]


def test_a_poor_image_does_not_end_rest() -> None:
    assert states(GOOD, *[STILL] * 4, POOR, STILL, GOOD) == [
        "live", "held", "held", "held", "idle", "held", "idle", "live",
    ]  # fmt: skip


def test_to_come_back_takes_more_than_to_stay() -> None:
    assert states(GOOD, BETWEEN_SCORES, POOR, BETWEEN_SCORES, GOOD, BETWEEN_SCORES) == [
        "live", "live", "held", "held", "live", "live",
    ]  # fmt: skip
    assert states(GOOD, BETWEEN_STRAINS, STILL, BETWEEN_STRAINS, GOOD) == [
        "live", "live", "held", "held", "live",
    ]  # fmt: skip


def test_scores_that_tremble_about_a_threshold_change_the_state_once() -> None:
    rng = np.random.default_rng(0)
    images = [seen(0.4 + 0.08 * rng.uniform(-1, 1), 0.008) for _ in range(200)]
    found = states(GOOD, *images)
    assert sum(a != b for a, b in pairwise(found)) == 1


def test_a_new_session_has_no_image_to_hold() -> None:
    assert HoldControl().step(POOR) == "idle"


@pytest.mark.parametrize("bad", [{"held_score": 0.6}, {"moving_strain": -1.0}, {"idle_after": -1}])
def test_impossible_rules_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        HoldRule(**bad)
