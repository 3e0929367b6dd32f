"""The last RF frames: found by stream, sequence and time, and bounded."""

from __future__ import annotations

import numpy as np
import pytest
import zmq
from live import SHAPE, numbered_message, wait_until

from usert.errors import OptionError
from usert.runtime.clients.rf_history import MOST_FRAMES, RecentFrames
from usert.runtime.imaging.frames import FrameStamp


def stamp(sequence: int, time_ns: int = 0) -> FrameStamp:
    return FrameStamp(sequence=sequence, time_ns=time_ns, acquired_ns=0)


def test_a_frame_is_found_by_all_that_names_it_while_it_is_recent() -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.linger = 0
        socket.sndhwm = 0
        socket.bind("tcp://127.0.0.1:0")
        with RecentFrames(socket.get_string(zmq.LAST_ENDPOINT)) as frames:
            assert socket.recv() == b"\1"
            last = MOST_FRAMES + 5
            for sequence in range(1, last + 1):
                socket.send_multipart(numbered_message(sequence, time_ns=7 * sequence).to_parts())
                wait_until(lambda k=sequence: frames.find("test", stamp(k, 7 * k)) is not None)  # type: ignore[misc]
            found = frames.find("test", stamp(last, 7 * last))
            assert found is not None
            assert (found.sequence, found.shape) == (last, SHAPE)
            assert frames.find("test", stamp(last, 1)) is None
            assert frames.find("other", stamp(last, 7 * last)) is None
            assert frames.find("test", stamp(5, 35)) is None
            assert frames.find("test", stamp(6, 42)) is not None


def test_frames_are_cut_as_the_server_cuts_them() -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.linger = 0
        socket.bind("tcp://127.0.0.1:0")
        with RecentFrames(socket.get_string(zmq.LAST_ENDPOINT), rows=(2, 22)) as frames:
            assert socket.recv() == b"\1"
            message = numbered_message(1, time_ns=7)
            socket.send_multipart(message.to_parts())
            wait_until(lambda: frames.find("test", stamp(1, 7)) is not None)
            found = frames.find("test", stamp(1, 7))
            assert found is not None
            np.testing.assert_array_equal(found.samples, message.frame.samples[2:22])


def test_a_source_on_another_machine_needs_keys() -> None:
    with pytest.raises(OptionError, match="without keys"):
        RecentFrames("tcp://10.0.0.1:5555")
