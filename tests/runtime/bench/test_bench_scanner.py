"""The scanner of a benchmark: what is due is stamped so, however late it leaves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import zmq
from live import TIMEOUT_S, numbered_frame, wait_until

from usert.errors import EngineError
from usert.runtime.bench.scanner import Scanner
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage

FRAMES = tuple(numbered_frame(k) for k in range(3))


@pytest.fixture
def receiver() -> Iterator[zmq.Socket[bytes]]:
    """Holds one frame: beyond that the scanner waits for whoever reads."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.linger, socket.rcvhwm, socket.rcvtimeo = 0, 1, round(1e3 * TIMEOUT_S)
        socket.setsockopt(zmq.RCVBUF, 1)
        socket.bind("tcp://127.0.0.1:0")
        yield socket


def read(socket: zmq.Socket[bytes], count: int) -> list[RFMessage]:
    return [RFMessage.from_parts(socket.recv_multipart()) for _ in range(count)]


def test_stamps_are_when_frames_were_due_though_nobody_took_them(receiver: zmq.Socket[bytes]) -> None:
    with Scanner(receiver.get_string(zmq.LAST_ENDPOINT), FRAMES) as scanner:
        scanner.send(500, 10_000.0)
        messages = read(receiver, 500)
        assert scanner.done(TIMEOUT_S)
        assert scanner.sent == 500
    times = np.array([message.frame.time_ns for message in messages])
    assert set(np.diff(times)) == {100_000}
    assert [message.frame.sequence for message in messages] == list(range(500))
    assert {message.clock for message in messages} == {clock_id()}
    for message in messages[:6]:
        expected = FRAMES[message.frame.sequence % 3]
        np.testing.assert_array_equal(message.frame.samples, expected.samples)


def test_orders_follow_each_other_and_can_be_called_off(receiver: zmq.Socket[bytes]) -> None:
    with Scanner(receiver.get_string(zmq.LAST_ENDPOINT), FRAMES) as scanner:
        scanner.send(2, 1000.0)
        first = read(receiver, 2)
        assert scanner.done(TIMEOUT_S)
        scanner.send(1000, 2.0)
        read(receiver, 1)
        scanner.skip_rest()
        assert scanner.done(TIMEOUT_S)
        assert scanner.sent < 1002
        scanner.send(1, 1000.0)
        assert scanner.done(TIMEOUT_S)
        last = read(receiver, scanner.sent - 3)[-1]
        assert last.frame.sequence == scanner.sent - 1
        assert last.frame.time_ns > first[-1].frame.time_ns


def test_a_scanner_that_dies_is_one_line(receiver: zmq.Socket[bytes]) -> None:
    with Scanner(receiver.get_string(zmq.LAST_ENDPOINT), FRAMES) as scanner:
        scanner.send(1000, 1.0)
        os.kill(scanner.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"^simulated scanner: .* -9$"):
            wait_until(lambda: scanner.done(1.0))
    with pytest.raises(ProcessLookupError):
        os.kill(scanner.pid, 0)
