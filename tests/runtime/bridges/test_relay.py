"""Frames that bridges send on: by which clock they are stamped."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from live import TIMEOUT_S, numbered_message
from rf_subscriber import subscriber

from usert.runtime.bridges.relay import Relay
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage

AGO_NS = 2_000_000_000


def relayed(message: RFMessage, arrived_ns: int) -> RFMessage:
    relay = Relay("tcp://127.0.0.1:0", None, lambda line: None, insecure=False)
    with ExitStack() as stack:
        relay.open(stack)
        receive = stack.enter_context(subscriber(relay.sender.endpoint))
        assert relay.sender.wait_for_receiver(TIMEOUT_S)
        header, samples = (bytes(part) for part in message.to_parts())
        relay.take(header, samples, arrived_ns)
        return receive()


def test_a_wall_clock_of_this_machine_is_carried_over_to_the_monotonic_one() -> None:
    complete_ns, acquired_ns = time.monotonic_ns() - AGO_NS, time.time_ns() - AGO_NS
    message = numbered_message(acquired_ns=acquired_ns, clock=clock_id())
    got = relayed(message, time.monotonic_ns())
    assert (got.frame.acquired_ns, got.clock) == (acquired_ns, clock_id())
    assert abs(got.frame.time_ns - complete_ns) < 100_000_000


@pytest.mark.parametrize(
    ("clock", "ahead_ns"),
    [
        ("of another boot", -AGO_NS),
        (clock_id(), None),
        (clock_id(), 3_600_000_000_000),
        (clock_id(), -10_100_000_000),
    ],
    ids=["other machine", "unknown", "future", "long past"],
)
def test_any_other_frame_has_the_time_of_its_arrival_by_a_clock_without_a_name(
    clock: str, ahead_ns: int | None
) -> None:
    acquired_ns = 0 if ahead_ns is None else time.time_ns() + ahead_ns
    got = relayed(numbered_message(acquired_ns=acquired_ns, clock=clock), 77)
    assert (got.frame.time_ns, got.clock) == (77, "")
    if acquired_ns:
        assert got.frame.acquired_ns == acquired_ns
    else:
        assert abs(got.frame.acquired_ns - time.time_ns()) < 60_000_000_000
