"""The live server over real sockets, with a real engine."""

from __future__ import annotations

import json
import logging
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from live import SHAPE, TIMEOUT_S, Feed, Source, make_server, numbered_message, running, wait_until
from numpy.typing import NDArray
from tiny_bundle import QUALITY, STRAIN

from usert.bundle import Bundle
from usert.errors import EngineError, OptionError
from usert.runtime.client import StrainClient
from usert.runtime.engine import Engine, Estimate
from usert.runtime.pairing import PairingRule
from usert.runtime.server import ServerConfig, StrainServer


class GatedEngine:
    """The real engine behind a gate that the test opens for one pair at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.fault: Exception | None = None

    @property
    def name(self) -> str:
        return self._engine.name

    def warm_up(self, shape: tuple[int, int]) -> None:
        self._engine.warm_up(shape)

    def run(self, reference: NDArray[Any], current: NDArray[Any]) -> Estimate:
        self.entered.release()
        assert self.gate.acquire(timeout=TIMEOUT_S)
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        return self._engine.run(reference, current)

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def server(engine: Engine, source: Source) -> Iterator[StrainServer]:
    with running(make_server(engine, source)) as opened:
        yield opened


@pytest.fixture
def feed(server: StrainServer, source: Source) -> Iterator[Feed]:
    with StrainClient(server.publish_endpoint) as client:
        primed = Feed(source, client)
        primed.prime()
        yield primed


def books_balance(server: StrainServer) -> bool:
    stats = server.stats
    used = stats.unpaired + sum(stats.failed.values()) + stats.published
    return stats.received == stats.dropped + used


def test_an_image_is_that_of_its_two_frames(server: StrainServer, feed: Feed) -> None:
    first = feed.next()
    feed.image()
    second = feed.next()
    image = feed.image()
    assert (image.reference.sequence, image.current.sequence) == (
        first.frame.sequence,
        second.frame.sequence,
    )
    assert image.current.time_ns == second.frame.time_ns
    assert image.current.acquired_ns == second.frame.acquired_ns
    change = second.frame.samples.astype(np.float32) - first.frame.samples
    np.testing.assert_array_equal(image.displacement[1], change)
    np.testing.assert_array_equal(image.strain, np.full(SHAPE, STRAIN, np.float32))
    assert (image.mean_strain, image.mean_quality) == (STRAIN, QUALITY)
    assert (image.stream, image.state, image.weights_hash) == ("test", "live", "abc")
    assert image.scan == second.frame.scan


def test_times_are_in_order_and_age_is_exact_on_one_machine(feed: Feed) -> None:
    feed.next()
    image = feed.image()
    times = [
        image.current.time_ns,
        image.received_ns,
        image.matched_ns,
        image.started_ns,
        image.published_ns,
    ]
    assert times == sorted(times)
    age = feed.client.age
    assert age is not None
    assert age.exact
    assert age.ms >= (image.published_ns - image.current.time_ns) / 1e6
    assert age.ms < 1e3 * TIMEOUT_S


def test_the_books_balance(server: StrainServer, feed: Feed) -> None:
    for _ in range(20):
        feed.next()
    wait_until(lambda: server.stats.received == feed.source.frames and books_balance(server))
    stats = server.stats
    assert stats.published + stats.dropped + stats.unpaired == feed.source.frames
    assert stats.sessions == 1
    assert stats.lost == 0
    assert stats.output.count == stats.published
    assert stats.output.age_p50_ms <= stats.output.age_p99_ms
    assert f"{feed.source.frames} frames received" in str(stats)


def test_the_newest_frame_wins_while_the_engine_is_busy(engine: Engine, source: Source) -> None:
    gated = GatedEngine(engine)
    with (
        running(make_server(gated, source)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        source.send(numbered_message(0))
        wait_until(lambda: server.stats.unpaired == 1)
        source.send(numbered_message(1))
        assert gated.entered.acquire(timeout=TIMEOUT_S)
        source.send(*(numbered_message(k) for k in range(2, 10)))
        wait_until(lambda: server.stats.received == 10)
        gated.gate.release()
        assert gated.entered.acquire(timeout=TIMEOUT_S)
        wait_until(lambda: server.stats.published == 1)
        assert server.stats.dropped == 7
        next_sequence = 10
        while client.receive(0.05) is None:  # until the client is known to hear
            gated.gate.release(1)
            source.send(numbered_message(next_sequence))
            next_sequence += 1
        gated.gate.release(1000)
        source.send(numbered_message(next_sequence))
        image = client.receive(TIMEOUT_S)
        assert image is not None
        assert image.reference.sequence == image.current.sequence - 1
        wait_until(lambda: books_balance(server))


def test_the_lag_chooses_the_reference_even_among_dropped_frames(engine: Engine, source: Source) -> None:
    gated = GatedEngine(engine)
    with running(make_server(gated, source, pairing=PairingRule(lag=3, max_gap_frames=0))) as server:
        source.send(numbered_message(0))
        wait_until(lambda: server.stats.unpaired == 1)
        source.send(*(numbered_message(k) for k in range(1, 4)))
        assert gated.entered.acquire(timeout=TIMEOUT_S)
        source.send(*(numbered_message(k) for k in range(4, 9)))
        wait_until(lambda: server.stats.received == 9)
        with StrainClient(server.publish_endpoint) as client:
            sequence = 9
            while (image := client.receive(0.05)) is None:
                gated.gate.release()
                source.send(numbered_message(sequence))
                sequence += 1
            gated.gate.release(1000)
            assert image.current.sequence - image.reference.sequence == 3


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
    assert server.stats.malformed == {
        "header": 9,
        "parts": 9,
        "size": 9,
        "version": 3,
        "kind": 3,
        "geometry": 3,
        "field": 3,
    }
    logged = [record for record in caplog.records if "malformed" in record.message]
    assert len(logged) == len(server.stats.malformed), "one line a kind"


def test_raw_tcp_garbage_does_not_reach_the_server(engine: Engine) -> None:
    import socket

    config = ServerConfig(rf="tcp://127.0.0.1:0", rf_type="pull", rf_bind=True, publish="tcp://127.0.0.1:0")
    with (
        running(StrainServer(engine=engine, config=config)) as server,
        zmq.Context() as context,
        context.socket(zmq.PUSH) as push,
    ):
        port = int(server.rf_endpoint.rsplit(":", 1)[1])
        for junk in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff" + struct.pack(">Q", 1 << 62) + b"\x7f" * 64,
            b"\0" * 999,
        ):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(junk)
        push.linger = 0
        push.connect(server.rf_endpoint)
        for k in range(3):
            push.send_multipart(numbered_message(k).to_parts())
        wait_until(lambda: server.stats.received == 3)
        assert server.stats.malformed == {}


@pytest.mark.parametrize(
    "samples",
    [np.full(SHAPE, np.nan, np.float32), np.zeros(SHAPE, np.float32)],
    ids=["nan", "constant"],
)
def test_frames_without_a_signal_are_counted_and_survived(
    server: StrainServer, feed: Feed, caplog: pytest.LogCaptureFixture, samples: NDArray[np.float32]
) -> None:
    noise = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    unpaired = server.stats.unpaired
    feed.next(samples=noise)  # a new session: float32
    wait_until(lambda: server.stats.unpaired == unpaired + 1)
    for _ in range(3):
        feed.next(samples=samples)
        wait_until(lambda: server.stats.received == feed.source.frames and books_balance(server))
    assert server.stats.failed == {"FrameError": 3}
    feed.next(samples=noise)
    wait_until(lambda: server.stats.failed == {"FrameError": 4})  # the reference has no signal
    feed.next(samples=noise)
    assert feed.image().current.sequence == feed.sequence
    assert len([record for record in caplog.records if "no image" in record.message]) == 1


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
            wait_until(lambda server=server: sum(server.stats.failed.values()) == 1)
            feed.next()
            feed.image()
            assert server.stats.failed == {type(fault).__name__: 1}


def test_a_change_of_shape_starts_a_session(
    server: StrainServer, feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    feed.next()
    before = feed.image()
    stats = server.stats
    feed.next(shape=(30, 10))
    wait_until(lambda: server.stats.unpaired == stats.unpaired + 1)
    assert server.stats.published == stats.published, "no image across the change"
    feed.next(shape=(30, 10))
    after = feed.image()
    assert after.shape == (30, 10)
    assert after.session == before.session + 1
    assert after.reference.sequence == after.current.sequence - 1
    assert any("session 2: 'test', 30 x 10 int16" in record.message for record in caplog.records)


def test_frames_that_were_lost_are_counted(server: StrainServer, feed: Feed) -> None:
    feed.sequence += 2
    feed.next()
    image = feed.image()
    assert image.current.sequence - image.reference.sequence == 3
    assert server.stats.lost == 2


def test_a_source_that_starts_again_is_a_new_session(server: StrainServer, feed: Feed) -> None:
    unpaired = server.stats.unpaired
    feed.sequence = 0
    feed.next()
    wait_until(lambda: server.stats.unpaired == unpaired + 1)
    feed.next()
    assert feed.image().session == 2


def test_the_server_may_bind_for_publishers(engine: Engine) -> None:
    config = ServerConfig(rf="tcp://127.0.0.1:0", rf_bind=True, publish="tcp://127.0.0.1:0")
    with (
        running(StrainServer(engine=engine, config=config)) as server,
        zmq.Context() as context,
        context.socket(zmq.XPUB) as publisher,
    ):
        assert not server.rf_endpoint.endswith(":0")
        assert not server.publish_endpoint.endswith(":0")
        publisher.linger = 0
        publisher.connect(server.rf_endpoint)
        assert publisher.poll(round(1e3 * TIMEOUT_S))
        assert publisher.recv() == b"\1"
        publisher.send_multipart(numbered_message(0).to_parts())
        wait_until(lambda: server.stats.received == 1)


@pytest.mark.parametrize(
    "endpoint", ["tcp://*:5555", "tcp://0.0.0.0:0", "tcp://192.168.1.2:5555", "tcp://[::]:1"]
)
def test_beyond_loopback_is_refused_unless_said_in_so_many_words(endpoint: str) -> None:
    for fields in (
        {"rf": "ipc:///tmp/rf", "publish": endpoint},
        {"rf": endpoint, "publish": "tcp://[::1]:0"},
    ):
        with pytest.raises(OptionError, match="--insecure"):
            ServerConfig(**fields)
        assert ServerConfig(insecure=True, **fields).insecure


@pytest.mark.parametrize(
    "endpoint", ["", "5555", "tcp://127.0.0.1", "udp://127.0.0.1:1", "tcp://127.0.0.1:1;x:2"]
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(OptionError, match="expected tcp://HOST:PORT"):
        ServerConfig(rf=endpoint, publish="tcp://127.0.0.1:0")


def test_an_endpoint_in_use_is_one_clear_line_and_nothing_leaks(
    engine: Engine, source: Source, server: StrainServer
) -> None:
    for fields in ({"publish": server.publish_endpoint}, {"rf": server.publish_endpoint, "rf_bind": True}):
        with (
            pytest.raises(OptionError, match="cannot bind: Address already in use"),
            make_server(engine, source, **fields),
        ):
            pass


def test_a_server_opens_once_and_runs_only_while_open(engine: Engine, source: Source) -> None:
    server = make_server(engine, source)
    with pytest.raises(ValueError, match="is new"):
        server.run()
    with server:
        server.stop()
        server.stop()
        server.run()
    assert server.state == "closed"
    with pytest.raises(ValueError, match="is closed"):
        server.run()
    with pytest.raises(ValueError, match="opens once"), server:
        pass
    assert server.stats.received == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_usert_serve_with_a_summary(bundle: Bundle, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "usert", "serve", "--rf", "tcp://127.0.0.1:0", "--rf-bind"]
    command += ["--publish", "tcp://127.0.0.1:0", "--bundle", str(bundle.folder), "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            process.send_signal(number)
            rest, errors = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert "rf on tcp://127.0.0.1:" in lines[0]
    assert "strain on tcp://127.0.0.1:" in lines[1]
    assert rest.startswith("serve: 0 frames received, 0 images")
    assert (process.returncode, errors) == (0, "")


def test_usert_serve_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "usert", "serve", "--rf", "tcp://127.0.0.1:1", "--publish"]
    for endpoint, bundle, expected in (
        ("tcp://0.0.0.0:0", tmp_path, "--insecure"),
        ("tcp://127.0.0.1:0", tmp_path / "none", "no such folder"),
    ):
        done = subprocess.run(
            [*command, endpoint, "--bundle", str(bundle)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 1
        assert expected in done.stderr
        assert done.stderr.startswith("usert: ")
        assert len(done.stderr.splitlines()) == 1
