"""Sessions of a live server: what is one, what is told of why it began, and of why there is no image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from control_room import STATUS, Room
from live import (
    SCAN,
    SHAPE,
    Feed,
    Source,
    WrappedEngine,
    books_balance,
    make_server,
    numbered_message,
    running,
    wait_until,
)

from usert.errors import EngineError
from usert.frame import Scan
from usert.runtime.engines.interface import Engine, FrameFormat
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.monitor.health import Health
from usert.runtime.protocol.age import now_ns
from usert.runtime.protocol.header import MAX_HEADER_BYTES
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer
from usert.runtime.server.status import status_fields
from usert.runtime.server.stream import Stream


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


def test_opening_the_engine_is_logged_before_it_unless_it_is_warm(
    engine: Engine, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    iq = replace(SCAN, demodulation_hz=SCAN.f0_hz)
    warm = StrainServer(
        engine=engine,
        config=ServerConfig(rf=source.endpoint, rf_type="pull", publish="tcp://127.0.0.1:0"),
        warm=[FrameFormat(SHAPE)],
    )
    with running(warm):
        source.send(numbered_message(1))
        wait_until(lambda: "session 1" in caplog.text)
        other = np.zeros((SHAPE[0] + 4, SHAPE[1]), np.int16)
        source.send(numbered_message(2, samples=other))
        wait_until(lambda: warm.counts.unpaired == 2)
        source.send(numbered_message(3, samples=np.zeros((*SHAPE, 2), np.int16), scan=iq))
        wait_until(lambda: "IQ: some seconds" in caplog.text)
    logged = [line for line in caplog.messages if line.startswith(("session", "opening"))]
    assert [line.partition(":")[0] for line in logged[:2]] == ["session 1", "session 2"]
    n, m = other.shape
    assert logged[2] == (
        f"opening the engine for {n} x {m}: some seconds (--shape {n}x{m} does it before the start)"
    )
    assert logged[4:] == [f"opening the engine for {SHAPE[0]} x {SHAPE[1]} IQ: some seconds"]


@pytest.mark.parametrize("sent", [False, True])
def test_an_endpoint_from_which_nothing_comes_is_logged_once(
    engine: Engine,
    source: Source,
    sent: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("usert.runtime.server.server._SILENT_NS", 10**18)
    silent = "ipc:///tmp/usert-test-nobody"
    server = make_server(engine, source, rf=(source.endpoint, silent))
    with running(server):
        if sent:
            source.send(numbered_message(1))
            wait_until(lambda: server.counts.unpaired == 1)
        monkeypatch.setattr("usert.runtime.server.server._SILENT_NS", 0)
        wait_until(lambda: silent in caplog.text)
    told = [line for line in caplog.messages if line.startswith("no frame yet")]
    assert told == [
        f"no frame yet from {endpoint}: is the source running? One side must bind: --rf-bind if it connects"
        for endpoint in ((silent,) if sent else (source.endpoint, silent))
    ]


def test_a_server_that_binds_waits_in_silence(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usert.runtime.server.server._SILENT_NS", 0)
    config = ServerConfig(rf="tcp://127.0.0.1:0", rf_bind=True, publish="tcp://127.0.0.1:0")
    server = StrainServer(engine=engine, config=config)
    with running(server):
        wait_until(lambda: server._silence_logged)
    assert "no frame yet" not in caplog.text


LATER_NS = 6_000_000_000
"""Beyond what health waits for before it says that there is no image."""


class Failing(WrappedEngine):
    """An engine that has lost its device."""

    def run(self, reference: object, current: object, scan: Scan | None = None) -> Estimate:
        raise EngineError("lost its device")


def reason_after(engine: Engine, source: Source, messages: Sequence[RFMessage], **config: object) -> str:
    """What health says of a server that got these frames, a while later, as if frames still came."""
    health = Health(now_ns())
    fields = {"rf": source.endpoint, "rf_type": "pull", "publish": "tcp://127.0.0.1:0"} | config
    with running(StrainServer(engine=engine, config=ServerConfig(**fields), health=health)) as server:  # type: ignore[arg-type]
        for count, message in enumerate(messages, 1):
            source.send(message)
            wait_until(lambda count=count: server.counts.frames.received == count and books_balance(server))
        later = now_ns() + LATER_NS
        health.turn(later)
        health.frame_ns = later
        report = health.report(later)
    assert report.status == "ok"
    start, _, because = report.reason.partition(" because ")
    assert start.startswith("no image for ")
    return because


def test_a_sequence_that_stays_is_said(engine: Engine, source: Source) -> None:
    reason = reason_after(engine, source, [numbered_message(0) for _ in range(4)])
    assert reason == "every frame begins a session (sequence stays at 0)"


def test_geometry_that_changes_with_every_frame_is_said(engine: Engine, source: Source) -> None:
    scans = [replace(SCAN, fs_hz=40e6 * (1 + 1e-5 * (k % 2))) for k in range(4)]
    messages = [numbered_message(k, scan=scan) for k, scan in enumerate(scans)]
    reason = reason_after(engine, source, messages)
    assert reason == "every frame begins a session (geometry: fs_hz 40e6 → 40.0004e6)"


@pytest.mark.parametrize(
    ("step", "apart_ms", "got"),
    [(2, 3000, "2 to 4 back, 3000 to 6000 ms"), (20, 10, "20 to 40 back, 10 to 20 ms")],
    ids=["in time", "in number"],
)
def test_frames_too_far_apart_are_said(
    engine: Engine, source: Source, step: int, apart_ms: int, got: str
) -> None:
    messages = [numbered_message(step * k, time_ns=(1 + k * apart_ms) * 1_000_000) for k in range(3)]
    reason = reason_after(engine, source, messages)
    assert reason == (f"no pair is allowed: got frames {got}, expected 1 to 5 back and at most 1000 ms")


def test_frames_without_a_signal_are_said(engine: Engine, source: Source) -> None:
    blank = [numbered_message(k, samples=np.zeros(SHAPE, np.int16)) for k in range(3)]
    reason = reason_after(engine, source, blank)
    assert reason.startswith("the engine refuses the frames: reference frame: all samples are the same")


def test_an_engine_that_fails_is_said(engine: Engine, source: Source) -> None:
    reason = reason_after(Failing(engine), source, [numbered_message(k) for k in range(3)])
    assert reason == "the engine fails with EngineError: lost its device"


def test_a_frozen_stream_is_said_in_status_and_its_frozen_images_are_none(room: Room) -> None:
    room.ask("freeze")
    room.feed.next()
    assert room.feed.image().reason == "frozen"
    status = room.console.ask(STATUS)
    assert status["streams"][0]["no_image"] == "the stream is frozen"
    room.ask("resume")
    room.feed.next()
    room.feed.image()
    assert room.console.ask(STATUS)["streams"][0]["no_image"] == ""


def test_one_blank_frame_costs_its_pairs_alone(server: StrainServer, feed: Feed) -> None:
    def settled() -> bool:
        return server.counts.frames.received == feed.source.frames and books_balance(server)

    feed.next()
    feed.image()
    sessions = server.counts.frames.sessions
    feed.next(samples=np.zeros(SHAPE, np.int16))
    wait_until(settled)
    feed.next()
    wait_until(settled)
    assert server.counts.failed == {"FrameError": 2}
    feed.next()
    image = feed.image()
    assert (image.reference.sequence, image.current.sequence) == (feed.sequence - 1, feed.sequence)
    assert server.counts.frames.sessions == sessions


def test_the_longest_reasons_of_eight_streams_fit_into_a_status(room: Room) -> None:
    long = "\N{GRINNING FACE}" * 64
    stream = Stream(ServerConfig(rf="tcp://127.0.0.1:1", publish="tcp://127.0.0.1:2"))
    stream.begin(1 << 40, SHAPE, f"clock changed from {long!a} to {long!a}")
    stream.no_image = f"every frame begins a session ({stream.session_reason})"
    fields = status_fields(
        counts=room.server.counts,
        output=room.server.output,
        engine=room.server.engine,
        streams={long + str(k): stream for k in range(8)},
        recorder=None,
        health=Health(0).report(0),
        uptime_s=1e6,
        denied=0,
    )
    assert len(json.dumps(fields)) < 0.7 * MAX_HEADER_BYTES
