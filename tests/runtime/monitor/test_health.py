"""What the server's health is said to be, by what its loop has told."""

from __future__ import annotations

import json

import pytest

from usert.errors import OptionError
from usert.runtime.monitor.health import Health, HealthRule, Report

S = 1_000_000_000


def flowing(now_s: float = 100.0) -> Health:
    """Opened at 0, and all well at `now_s`."""
    health = Health(0)
    at = round(now_s * S)
    health.turn(at)
    health.frame_ns = at
    health.image_ns, health.failed_in_a_row = at, 0
    return health


def report(health: Health, now_s: float) -> Report:
    return health.report(round(now_s * S))


def test_frames_and_images_that_flow_are_well() -> None:
    said = report(flowing(), 100.1)
    assert (said.status, said.reason, said.healthy) == ("ok", "", True)


def test_no_frame_yet_is_no_fault() -> None:
    health = Health(0)
    health.turn(10 * S)
    said = report(health, 10)
    assert (said.status, said.reason, said.healthy) == ("waiting", "no frame yet", True)
    assert said.frame_age_s is None
    assert said.image_age_s is None


def test_a_source_that_went_away_is_waited_for() -> None:
    health = flowing()
    health.turn(200 * S)
    assert report(health, 104.9).status == "ok"
    said = report(health, 107)
    assert (said.status, said.reason, said.healthy) == ("waiting", "no frame for 7 s", True)
    health.frame_ns = 107 * S
    assert report(health, 107).status == "ok"


def test_frames_without_an_image_are_well_and_said() -> None:
    health = flowing()
    health.turn(130 * S)
    health.frame_ns = 130 * S
    said = report(health, 130)
    assert (said.status, said.healthy) == ("ok", True)
    assert said.reason == "frames come, but no image for 30 s"


def test_an_engine_that_fails_at_every_pair_is_failing_until_it_gives_an_image() -> None:
    health = flowing()
    for _ in range(9):
        health.failed_in_a_row += 1
    assert report(health, 100).status == "ok"
    health.failed_in_a_row += 1
    said = report(health, 100)
    assert (said.status, said.reason) == ("failing", "the engine failed at the last 10 pairs")
    assert not said.healthy
    health.image_ns, health.failed_in_a_row = 101 * S, 0
    assert report(health, 101).healthy


def test_one_image_among_the_failures_is_enough() -> None:
    health = flowing()
    for _ in range(5):
        for _ in range(9):
            health.failed_in_a_row += 1
        health.image_ns, health.failed_in_a_row = 100 * S, 0
    assert report(health, 100).status == "ok"


def test_a_loop_that_does_not_turn_is_stuck_whatever_else() -> None:
    health = flowing()
    for _ in range(20):
        health.failed_in_a_row += 1
    health.frame_ns = 106 * S  # another thread receives on
    said = report(health, 106)
    assert (said.status, said.reason) == ("stuck", "the loop has not turned for 6 s")
    assert not said.healthy
    health.turn(106 * S)
    assert report(health, 106).status == "failing"


def test_a_loop_that_never_began_is_stuck() -> None:
    assert report(Health(0), 4).status == "waiting"
    assert report(Health(0), 6).status == "stuck"


def test_warming_up_may_take_long_but_not_for_ever() -> None:
    health = flowing()
    health.turn(100 * S, warming=True)
    health.frame_ns = 400 * S
    said = report(health, 400)
    assert (said.status, said.reason) == ("ok", "the engine warms up, for 300 s now")
    assert report(health, 440).reason == "the engine warms up, for 340 s now", (
        "a full queue takes no further frames"
    )
    assert report(health, 1001).status == "stuck"
    health.turn(1001 * S)
    assert report(health, 1007).status == "stuck"


def test_limits_are_those_of_the_rule() -> None:
    health = Health(0, HealthRule(quiet_s=1, stuck_s=2, failed_pairs=1))
    health.frame_ns = 0
    assert report(health, 1.5).status == "waiting"
    health.failed_in_a_row += 1
    assert report(health, 1.5).status == "failing"
    assert report(health, 2.5).status == "stuck"


@pytest.mark.parametrize(
    "bad", [{"quiet_s": 0}, {"stuck_s": -1}, {"warm_up_s": float("nan")}, {"failed_pairs": 0}]
)
def test_limits_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected"):
        HealthRule(**bad)  # type: ignore[arg-type]


def test_what_happened_since_the_question_has_no_negative_age() -> None:
    said = report(flowing(100), 99)
    assert (said.turn_age_s, said.frame_age_s, said.image_age_s) == (0, 0, 0)


def test_the_json_says_all_of_it() -> None:
    health = flowing()
    health.turn(round(100.25 * S))
    health.failed_in_a_row += 1
    assert json.loads(report(health, 100.5).to_json()) == {
        "status": "ok",
        "reason": "",
        "turn_age_s": 0.25,
        "frame_age_s": 0.5,
        "image_age_s": 0.5,
        "failed_in_a_row": 1,
    }


def test_why_there_is_no_image_is_said_once_it_lasts() -> None:
    health = flowing()
    health.obstructed("every frame begins a session", 101 * S)
    health.obstructed("no pair is allowed", 103 * S)
    for now in (104, 107):
        health.turn(now * S)
        health.frame_ns = now * S
        assert report(health, now).status == "ok"
    assert report(health, 104).reason == ""
    assert report(health, 107).reason == "no image for 6 s because no pair is allowed"
    health.image_ns = 107 * S
    assert report(health, 107).reason == "no image for 6 s because no pair is allowed", "a frozen one is none"
    health.cleared()
    assert report(health, 107).reason == ""


def test_an_engine_that_fails_is_said_with_its_error() -> None:
    health = flowing()
    health.failed_in_a_row = 10
    health.obstructed("the engine fails with EngineError: lost its device", 98 * S)
    assert report(health, 100).reason == (
        "the engine failed at the last 10 pairs: no image for 2 s because the engine fails with EngineError: "
        "lost its device"
    )
