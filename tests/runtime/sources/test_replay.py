"""The replayed stream: complete, stamped anew, on schedule."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import zmq
from live import TIMEOUT_S, numbered_frame, running

from usert.errors import OptionError
from usert.frame import RFFrame
from usert.recording import write_recording
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.sources.replay import Replay, ReplayConfig

FRAMES = [numbered_frame(k + 40) for k in range(4)]
ANY = "tcp://127.0.0.1:0"


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as made:
        yield made


def received(socket: zmq.Socket[bytes], count: int) -> list[RFMessage]:
    messages = []
    for _ in range(count):
        assert socket.poll(round(1e3 * TIMEOUT_S))
        messages.append(RFMessage.from_parts(socket.recv_multipart()))
    return messages


def subscribed(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.subscribe(b"")
    socket.connect(endpoint)
    return socket


def test_all_frames_arrive_in_order_with_fresh_stamps(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    before = time.monotonic_ns(), time.time_ns()
    config = ReplayConfig(endpoint=ANY, rate_hz=500, stream="probe")
    with running(Replay(lambda: FRAMES, config)) as replay, subscribed(context, replay.endpoint) as socket:
        messages = received(socket, len(FRAMES))
    for k, (message, frame) in enumerate(zip(messages, FRAMES, strict=True)):
        np.testing.assert_array_equal(message.frame.samples, frame.samples)
        assert (message.frame.sequence, message.stream, message.clock) == (k, "probe", clock_id())
        assert message.frame.time_ns > before[0]
        assert message.frame.acquired_ns >= before[1]
    assert replay.sent == 4


def test_a_loop_starts_its_sequence_again_and_the_count_ends_it(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    config = ReplayConfig(endpoint=ANY, rate_hz=500, loop=True, count=6)
    with running(Replay(lambda: FRAMES, config)) as replay, subscribed(context, replay.endpoint) as socket:
        messages = received(socket, 6)
        assert [message.frame.sequence for message in messages] == [0, 1, 2, 3, 0, 1]
        times = [message.frame.time_ns for message in messages]
        assert times == sorted(times)
        assert not socket.poll(50)


def test_push_waits_for_a_receiver_and_reaches_it_whole(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    with context.socket(zmq.PULL) as socket:
        socket.bind(ANY)
        config = ReplayConfig(
            endpoint=socket.get_string(zmq.LAST_ENDPOINT), socket_type="push", bind=False, rate_hz=500
        )
        with Replay(lambda: FRAMES, config) as replay:
            replay.run()
            assert replay.sent == 4
            assert [message.frame.sequence for message in received(socket, 4)] == [0, 1, 2, 3]


def test_the_schedule_does_not_drift(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    config = ReplayConfig(endpoint=ANY, rate_hz=200, count=61)
    with (
        running(Replay(lambda: itertools.cycle(FRAMES), config)) as replay,
        subscribed(context, replay.endpoint) as socket,
    ):
        times_ns = [message.frame.time_ns for message in received(socket, 61)]
    # every delay of a whole period moves the schedule by itself and no more
    assert times_ns[-1] - times_ns[0] >= 0.999 * 60 / 200 * 1e9
    if replay.late == 0:
        assert times_ns[-1] - times_ns[0] < (60 + 2) / 200 * 1e9


def test_a_stall_is_not_made_up_for_by_a_burst(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    resume = threading.Event()

    def frames() -> Iterator[RFFrame]:
        yield from FRAMES[:2]
        assert resume.wait(TIMEOUT_S)
        yield from FRAMES

    config = ReplayConfig(endpoint=ANY, rate_hz=50)
    with running(Replay(frames, config)) as replay, subscribed(context, replay.endpoint) as socket:
        received(socket, 2)
        threading.Event().wait(0.1)  # five periods: the stall itself, not a synchronisation
        resume.set()
        times_ns = np.array([message.frame.time_ns for message in received(socket, 4)])
    assert replay.late >= 1
    assert np.diff(times_ns).min() > 0.5e9 / 50


def test_stop_ends_it_while_nobody_listens() -> None:
    for socket_type, bind in (("pub", True), ("push", False)):
        endpoint = ANY if bind else "tcp://127.0.0.1:9"
        config = ReplayConfig(endpoint=endpoint, socket_type=socket_type, bind=bind)  # type: ignore[arg-type]
        with running(Replay(lambda: FRAMES, config)) as replay:
            assert replay.sent == 0


def test_an_empty_source_ends_at_once_even_in_a_loop(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    with Replay(list, ReplayConfig(endpoint=ANY, loop=True)) as replay:
        with subscribed(context, replay.endpoint):
            replay.run()
        assert replay.sent == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate_hz": 0.0}, "rate: got 0"),
        ({"rate_hz": float("nan")}, "rate: got nan"),
        ({"count": 0}, "count: got 0"),
        ({"socket_type": "req"}, "socket type: got 'req'"),
        ({"endpoint": "tcp://*:0"}, "--insecure"),
    ],
)
def test_impossible_options_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Replay(list, ReplayConfig(**({"endpoint": ANY} | fields)))  # type: ignore[arg-type]


def replay_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "usert", "replay", *arguments]


def test_usert_replay_sends_a_recording(tmp_path: Path, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    path = tmp_path / "rec.h5"
    write_recording(path, FRAMES)
    command = replay_command(str(path), "--publish", ANY, "--rate", "100", "--count", "6", "--loop")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            endpoint = process.stdout.readline().split(" on ")[1].split()[0]
            with subscribed(context, endpoint) as socket:
                messages = received(socket, 6)
            rest, _ = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    np.testing.assert_array_equal(messages[4].frame.samples, FRAMES[0].samples)
    assert "6 frames sent" in rest
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--publish", ANY], "--simulate"),
        (["none.h5", "--publish", ANY], "none.h5"),
        (["none.h5", "--simulate", "--publish", ANY], "--simulate"),
        (["--simulate"], "--publish"),
        (["--simulate", "--publish", ANY, "--to", ANY], "--publish"),
        (["--simulate", "--size", "vast", "--publish", ANY], "vast"),
        (["--simulate", "--publish", "tcp://*:0"], "--insecure"),
    ],
)
def test_usert_replay_says_in_one_line_what_is_wrong(arguments: list[str], expected: str) -> None:
    done = subprocess.run(
        replay_command(*arguments), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_recording_without_frames_is_refused(tmp_path: Path) -> None:
    """It would be repeated, or waited for, without end."""
    path = tmp_path / "rec.h5"
    write_recording(path, FRAMES)
    with h5py.File(path, "r+") as file:
        for name in ("rf", "acquired_ns"):
            file[name].resize(0, axis=0)
    words = ["replay", str(path), "--publish", "tcp://127.0.0.1:0", "--count", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "usert", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"usert: {path}: got a recording of 0 frames, expected one or more\n"
