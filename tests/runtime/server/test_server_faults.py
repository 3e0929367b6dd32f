"""What the live server counts and survives."""

from __future__ import annotations

import json
import re
import socket
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zmq
from live import (
    SHAPE,
    TIMEOUT_S,
    Feed,
    GatedEngine,
    Source,
    books_balance,
    make_server,
    numbered_message,
    running,
    wait_until,
)
from numpy.typing import NDArray
from zmtp import greeting, part, ready

from usert.errors import EngineError
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.monitor.health import Health
from usert.runtime.protocol.age import clock_id, now_ns
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer


def test_garbage_is_counted_and_survived(
    server: StrainServer, feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    header, samples = (bytes(part) for part in numbered_message(1).to_parts())
    fields = json.loads(header)

    def with_header(**changes: Any) -> bytes:
        return json.dumps(fields | changes).encode()

    garbage: list[list[bytes]] = [
        [b"hello"],
        [b""],
        [b"{", samples],
        [header],
        [header, samples, b"more"],
        [b"x"] * 100,
        [header, samples[:-1]],
        [with_header(usert=2), samples],
        [with_header(kind="strain"), samples],
        [with_header(shape=[1 << 30, 1 << 30]), samples],
        [with_header(shape=[32768, 512]), samples],
        [with_header(fs_hz=0), samples],
        [with_header(sequence="1"), samples],
    ]
    for _ in range(3):
        for parts in garbage:
            feed.source.send_parts(*parts)
    feed.next()
    image = feed.image()
    assert image.counters.malformed == 3 * len(garbage)
    assert server.counts.malformed == {
        "header": 9,
        "parts": 9,
        "size": 9,
        "version": 3,
        "kind": 3,
        "geometry": 3,
        "field": 3,
    }
    logged = [record.message for record in caplog.records if "malformed" in record.message]
    assert len(logged) == len(set(logged)), "each distinct fault once"
    assert {re.findall(r"\((\w+)\)", line)[0] for line in logged} == set(server.counts.malformed)


def test_raw_tcp_garbage_does_not_reach_the_server(engine: Engine) -> None:
    config = ServerConfig(rf="tcp://127.0.0.1:0", rf_type="pull", rf_bind=True, publish="tcp://127.0.0.1:0")
    with (
        running(StrainServer(engine=engine, config=config)) as server,
        zmq.Context() as context,
        context.socket(zmq.PUSH) as push,
    ):
        port = int(server.rf_endpoints[0].rsplit(":", 1)[1])
        for junk in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff" + struct.pack(">Q", 1 << 62) + b"\x7f" * 64,
            b"\0" * 999,
        ):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(junk)
        push.linger = 0
        push.connect(server.rf_endpoints[0])
        for k in range(3):
            push.send_multipart(numbered_message(k).to_parts())
        wait_until(lambda: server.counts.frames.received == 3)
        assert server.counts.malformed == {}


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "silent"])
def test_half_of_a_message_is_no_frame_and_holds_nobody_up(engine: Engine, reset: bool) -> None:
    config = ServerConfig(rf="tcp://127.0.0.1:0", rf_type="pull", rf_bind=True, publish="tcp://127.0.0.1:0")
    with (
        running(StrainServer(engine=engine, config=config)) as server,
        zmq.Context() as context,
        context.socket(zmq.PUSH) as push,
    ):
        port = int(server.rf_endpoints[0].rsplit(":", 1)[1])
        header, samples = (bytes(some) for some in numbered_message(0).to_parts())
        whole = part(samples, more=False)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(greeting() + ready(b"PUSH") + part(header, more=True))
            connection.sendall(whole[: len(whole) // 2])
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            push.linger = 0
            push.connect(server.rf_endpoints[0])
            for k in range(3):
                push.send_multipart(numbered_message(k).to_parts())
            wait_until(lambda: server.counts.frames.received == 3)
        assert server.counts.malformed == {}
        assert server.counts.frames.sources == 1


@pytest.mark.parametrize(
    "samples",
    [np.full(SHAPE, np.nan, np.float32), np.zeros(SHAPE, np.float32)],
    ids=["nan", "constant"],
)
def test_frames_without_a_signal_are_counted_and_survived(
    server: StrainServer, feed: Feed, caplog: pytest.LogCaptureFixture, samples: NDArray[np.float32]
) -> None:
    noise = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    unpaired = server.counts.unpaired
    feed.next(samples=noise)  # a new session: float32
    wait_until(lambda: server.counts.unpaired == unpaired + 1)
    for _ in range(3):
        feed.next(samples=samples)
        wait_until(lambda: server.counts.frames.received == feed.source.frames and books_balance(server))
    assert server.counts.failed == {"FrameError": 3}
    feed.next(samples=noise)
    wait_until(lambda: server.counts.failed == {"FrameError": 4})  # the reference has no signal
    feed.next(samples=noise)
    assert feed.image().current.sequence == feed.sequence
    logged = [record.message for record in caplog.records if "no image" in record.message]
    assert [line.split(": ")[1] for line in logged] == ["current frame", "reference frame"], "each once"


def test_an_engine_that_fails_once_is_counted_and_survived(engine: Engine, source: Source) -> None:
    for fault in (EngineError("lost its device"), RuntimeError("foreign code")):
        gated = GatedEngine(engine)
        gated.gate.release(1000)
        with (
            running(make_server(gated, source)) as server,
            StrainClient(server.publish_endpoint) as client,
        ):
            feed = Feed(source, client)
            feed.prime()
            gated.fault = fault
            feed.next()
            wait_until(lambda server=server: sum(server.counts.failed.values()) == 1)
            feed.next()
            feed.image()
            assert server.counts.failed == {type(fault).__name__: 1}


def test_the_first_pair_of_a_session_may_take_no_longer_than_any(engine: Engine, source: Source) -> None:
    """Both of its frames wait while the engine is busy, so that one turn of the loop begins it and runs its pair."""
    gated, health = GatedEngine(engine), Health(now_ns())
    config = ServerConfig(rf=source.endpoint, rf_type="pull", publish="tcp://127.0.0.1:0")
    with running(StrainServer(engine=gated, config=config, weights_hash="abc", health=health)) as server:
        for sequence in (1, 2):
            source.send(numbered_message(sequence, clock=clock_id()))
            wait_until(lambda sequence=sequence: server.counts.frames.received == sequence)
        assert gated.entered.acquire(timeout=TIMEOUT_S)
        other = replace(numbered_message(1).frame.scan, line_pitch_mm=0.5)
        for sequence in (3, 4):
            message = numbered_message(sequence, clock=clock_id())
            source.send(replace(message, frame=replace(message.frame, scan=other)))
        wait_until(lambda: server.counts.frames.received == 4)
        gated.gate.release()
        assert gated.entered.acquire(timeout=TIMEOUT_S)
        assert server.counts.frames.sessions == 2
        assert health.report(now_ns() + 6 * 10**9).status == "stuck"
        gated.gate.release(100)


class Wrong:
    """An engine that answers with arrays that are none of an estimate."""

    name = "wrong"
    strain_window_at = staticmethod(lambda scan: 3)

    def __init__(self, *arrays: NDArray[Any]) -> None:
        self._arrays = arrays

    def warm_up(self, shape: tuple[int, int], scan: object = None) -> None:
        pass

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: object = None) -> Estimate:
        displacement, strain, quality = self._arrays
        return Estimate(displacement=displacement, strain=strain, quality=quality)

    def close(self) -> None:
        pass


def _whole(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    "arrays",
    [
        (_whole(1, *SHAPE), _whole(*SHAPE), _whole(*SHAPE)),
        (_whole(2, *SHAPE), _whole(1, *SHAPE), _whole(*SHAPE)),
        (_whole(2, *SHAPE), _whole(*SHAPE), _whole(*SHAPE, dtype="float64")),
        (_whole(2, 12, 8), _whole(12, 8), _whole(12, 8)),
        (_whole(2, *SHAPE), np.full(SHAPE, np.nan, np.float32), _whole(*SHAPE)),
    ],
    ids=["displacement", "strain", "dtype", "grid", "nan"],
)
def test_an_engine_that_answers_nonsense_is_counted_and_survived(
    source: Source, arrays: tuple[NDArray[Any], ...]
) -> None:
    with running(make_server(Wrong(*arrays), source)) as server:
        for k in range(5):
            source.send(numbered_message(k))
            wait_until(lambda k=k: server.counts.frames.received == k + 1 and books_balance(server))
        counts = server.counts
        assert counts.published == 0
        assert sum(counts.failed.values()) == 4


def test_a_source_that_begins_anew_with_every_frame_fills_no_log(
    server: StrainServer, feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for k in range(50):
        feed.source.send(numbered_message(k, shape=(24, 8 + k % 2)))
    wait_until(lambda: server.counts.frames.received == feed.source.frames and books_balance(server))
    assert server.counts.frames.sessions > 50
    assert len([record for record in caplog.records if "session" in record.message]) <= 13
