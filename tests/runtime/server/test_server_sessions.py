"""Sessions of a live server: what is one, and what is told of why it began."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from control_room import STATUS, Room
from live import SCAN, Feed, wait_until

from usert.runtime.server.server import StrainServer


def test_geometry_that_jitters_is_one_session_with_images_of_its_first_geometry(
    server: StrainServer, feed: Feed
) -> None:
    sessions = server.counts.frames.sessions
    noise = np.random.default_rng(0)
    for _ in range(8):
        scan = replace(
            SCAN,
            fs_hz=SCAN.fs_hz * (1 + 1e-9 * noise.uniform(-1, 1)),
            line_pitch_mm=SCAN.line_pitch_mm * (1 + 1e-9 * noise.uniform(-1, 1)),
        )
        feed.next(scan=scan)
        image = feed.image()
        assert image.scan == SCAN
        assert image.current.sequence == feed.sequence
    assert server.counts.frames.sessions == sessions


def test_why_a_session_began_stands_in_log_and_status(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    feed = room.feed

    def reason() -> str:
        [stream] = room.console.ask(STATUS)["streams"]
        return str(stream["session_reason"])

    assert reason() == "first frame"
    other = replace(SCAN, fs_hz=31.25e6)
    feed.next(scan=other)
    feed.next(scan=other)
    feed.image()
    assert reason() == "geometry: fs_hz 40e6 → 31.25e6"
    last, feed.sequence = feed.sequence, 0
    feed.next(scan=other)
    feed.next(scan=other)
    feed.image()
    assert reason() == f"sequence started again at 1, after {last}"
    wait_until(lambda: sum("session" in record.message for record in caplog.records) >= 2)
    logged = [record.message for record in caplog.records if record.message.startswith("session")]
    assert logged[-2:] == [
        "session 2: 'test', 24 x 8 int16 (geometry: fs_hz 40e6 → 31.25e6)",
        f"session 3: 'test', 24 x 8 int16 (sequence started again at 1, after {last})",
    ]
