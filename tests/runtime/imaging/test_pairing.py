"""Which frame goes with the newest."""

from __future__ import annotations

import pytest
from live import numbered_message, received_frame

from usert.errors import OptionError
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.imaging.pairing import PairingRule, choose_reference


def received(sequence: int, *, session: int = 1, at_ms: float = 0, time_ns: int = 0) -> ReceivedFrame:
    message = numbered_message(sequence, time_ns=time_ns)
    return received_frame(message, received_ns=round(at_ms * 1e6), session=session)


def chosen(current: int, kept: list[int], **rule: float) -> int | None:
    reference = choose_reference(
        received(current),
        [received(k) for k in kept],
        PairingRule(**rule),  # type: ignore[arg-type]
    )
    return None if reference is None else reference.frame.sequence


def test_the_frame_at_the_lag_is_chosen() -> None:
    assert chosen(9, [5, 6, 7, 8]) == 8
    assert chosen(9, [5, 6, 7, 8], lag=3) == 6


def test_the_first_frame_has_no_reference() -> None:
    assert chosen(0, []) is None


def test_a_lost_frame_is_stood_in_for_by_the_nearest() -> None:
    assert chosen(9, [5, 6, 7]) == 7
    assert chosen(9, [3, 4, 7, 8], lag=4) == 4
    assert chosen(9, [2, 7, 8], lag=4) == 7
    assert chosen(9, [4, 6, 8], lag=4) == 4, "the older of two equally near"


def test_no_pair_across_a_gap_in_the_sequence() -> None:
    assert chosen(9, [2, 3, 4], max_gap_frames=4) == 4
    assert chosen(9, [2, 3], max_gap_frames=4) is None
    assert chosen(9, [7], max_gap_frames=0) is None


def test_no_pair_across_a_gap_in_time_by_the_source() -> None:
    rule = PairingRule(max_interval_ms=100)
    current = received(2, time_ns=200_000_000)
    assert choose_reference(current, [received(1, time_ns=99_000_000)], rule) is None
    assert choose_reference(current, [received(1, time_ns=100_000_000)], rule) is not None


def test_no_pair_across_a_gap_in_time_by_arrival_where_the_source_has_no_clock() -> None:
    rule = PairingRule(max_interval_ms=100)
    assert choose_reference(received(2, at_ms=200), [received(1, at_ms=99)], rule) is None
    assert choose_reference(received(2, at_ms=200), [received(1, at_ms=100)], rule) is not None


def test_no_pair_across_sessions() -> None:
    assert choose_reference(received(2, session=2), [received(1, session=1)], PairingRule()) is None


def reach(current: ReceivedFrame, kept: list[ReceivedFrame], rule: PairingRule) -> int:
    """What the choice of the lag is given."""
    asked: list[int] = []
    choose_reference(current, kept, rule, lag_for=lambda furthest: asked.append(furthest) or 1)
    return asked[0]


def test_the_reach_is_that_of_the_oldest_frame_a_pair_is_allowed_with() -> None:
    rule = PairingRule(max_interval_ms=100)
    kept = [received(k, time_ns=k * 30_000_000) for k in (3, 5, 6, 8)]
    assert reach(received(9, time_ns=9 * 30_000_000), kept, rule) == 3
    assert reach(received(9, time_ns=9 * 30_000_000), kept[:2], rule) == 0
    assert reach(received(9, session=2, time_ns=9 * 30_000_000), kept, rule) == 0


def test_enough_frames_are_kept_for_the_rule() -> None:
    rule = PairingRule(lag=3, max_gap_frames=2)
    kept = list(range(20 - rule.kept(), 20))
    assert chosen(20, kept[:1], lag=3, max_gap_frames=2) == 15


@pytest.mark.parametrize("bad", [{"lag": 0}, {"lag": 1000}, {"max_gap_frames": -1}, {"max_interval_ms": 0.0}])
def test_impossible_rules_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected"):
        PairingRule(**bad)  # type: ignore[arg-type]
