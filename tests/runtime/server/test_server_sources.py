"""The live server with several sources, with every frame, and with what it counts of frames that are none."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import zmq
from live import TIMEOUT_S, Source, books_balance, make_server, numbered_message, running, wait_until

from usert.errors import OptionError
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer


@pytest.fixture
def other() -> Iterator[Source]:
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.linger = 0
        socket.bind("tcp://127.0.0.1:0")
        yield Source(socket)


def test_two_endpoints_are_two_sources_each_with_its_own_pairs(
    engine: Engine, source: Source, other: Source
) -> None:
    config = ServerConfig(rf=(source.endpoint, other.endpoint), rf_type="pull", publish="tcp://127.0.0.1:0")
    with (
        running(StrainServer(engine=engine, config=config)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        assert server.rf_endpoints == (source.endpoint, other.endpoint)
        seen: dict[str, StrainMessage] = {}
        deadline = time.monotonic() + TIMEOUT_S
        k = 0
        while len(seen) < 2:
            assert time.monotonic() < deadline
            k += 1
            source.send(numbered_message(k, stream="left"))
            other.send(numbered_message(100 + 2 * k, stream="right", shape=(24, 9)))
            while (message := client.receive(0.05)) is not None:
                assert message.shape == ((24, 8) if message.stream == "left" else (24, 9))
                lag = message.current.sequence - message.reference.sequence
                assert lag == (1 if message.stream == "left" else 2)
                seen[message.stream] = message
        assert seen["left"].session != seen["right"].session
        wait_until(
            lambda: server.counts.frames.received == source.frames + other.frames and books_balance(server)
        )
        counts = server.counts
        assert (counts.frames.sources, counts.frames.sessions, counts.frames.lost) == (2, 2, k - 1)


def test_one_endpoint_may_bring_several_sources(engine: Engine, source: Source) -> None:
    with running(make_server(engine, source)) as server:
        for k in range(10):
            source.send(*(numbered_message(k, stream=stream) for stream in "abc"))
        wait_until(lambda: server.counts.frames.received == 30 and books_balance(server))
        counts = server.counts
        assert (counts.frames.sources, counts.frames.sessions, counts.frames.lost) == (3, 3, 0)
        assert counts.published > 0


def test_every_frame_is_used_however_slow_the_engine_is(engine: Engine, source: Source) -> None:
    with running(make_server(engine, source, every_frame=4)) as server:
        for k in range(200):
            source.send(numbered_message(k))
        wait_until(lambda: server.counts.frames.received == 200 and books_balance(server))
        counts = server.counts
        assert (counts.frames.dropped, counts.frames.lost, counts.unpaired, counts.published) == (
            0,
            0,
            1,
            199,
        )


def test_a_server_that_is_full_can_be_stopped(engine: Engine, source: Source) -> None:
    """Nobody takes from the queue, and the thread that brings more waits: it must not wait for ever."""
    server = make_server(engine, source, every_frame=1)
    with server:
        source.send(*(numbered_message(k) for k in range(10)))
        wait_until(lambda: server.counts.frames.received == 2)
    assert server.state == "closed"


def test_frames_that_are_none_of_their_own_are_counted(engine: Engine, source: Source) -> None:
    def stamped(k: int, ms: int) -> None:
        source.send(numbered_message(k, clock=clock_id(), time_ns=ms * 1_000_000))

    with running(make_server(engine, source)) as server:
        for k, ms in ((1, 10), (2, 20), (2, 20), (5, 50), (4, 40), (6, 60), (7, 5), (8, 15)):
            stamped(k, ms)
        wait_until(lambda: server.counts.frames.received == source.frames and books_balance(server))
        counts = server.counts
        assert (counts.frames.duplicates, counts.frames.late, counts.frames.lost) == (1, 1, 1)
        assert (counts.frames.sessions, counts.frames.clock_jumps) == (2, 1)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"rf": ()}, "^rf: .*endpoint, expected"),
        ({"rf": ("tcp://127.0.0.1:5", "tcp://127.0.0.1:5")}, "the same endpoint as rf"),
        ({"rf": ("tcp://127.0.0.1:5", "tcp://10.0.0.1:5")}, "--insecure"),
        ({"every_frame": 0}, "^every frame: got .* 0, expected 1 "),
        ({"deadline_ms": 0.0}, "deadline: got 0 ms"),
        ({"control": "tcp://10.0.0.1:5"}, "--insecure"),
    ],
)
def test_what_a_server_is_told_is_checked(fields: dict[str, object], expected: str) -> None:
    whole = {"rf": "tcp://127.0.0.1:1", "publish": "tcp://127.0.0.1:0"} | fields
    with pytest.raises(OptionError, match=expected) as raised:
        ServerConfig(**whole)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
