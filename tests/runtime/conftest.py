"""Real sockets over loopback, a real ONNX Runtime engine on a tiny graph, and a watch for leaks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import zmq
from live import TIMEOUT_S, Feed, Source, make_server, running
from publishing import Publisher
from tiny_bundle import tiny_bundle
from zmq.utils.garbage import gc

from usert.bundle import Bundle
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.server.server import StrainServer


@pytest.fixture(autouse=True)
def _no_leaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every socket and context made in a test is closed at its end, and every thread joined."""
    contexts: list[Any] = []
    sockets: list[Any] = []
    init, make_socket = zmq.Context.__init__, zmq.Context.socket

    def noted_init(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        contexts.append(self)

    def noted_socket(self: Any, *args: Any, **kwargs: Any) -> Any:
        sockets.append(make_socket(self, *args, **kwargs))
        return sockets[-1]

    monkeypatch.setattr(zmq.Context, "__init__", noted_init)
    monkeypatch.setattr(zmq.Context, "socket", noted_socket)
    before = set(threading.enumerate())
    yield
    # pyzmq's own thread and sockets, which free buffers sent without a copy, live as long as the process
    theirs = gc._context
    assert [socket for socket in sockets if not socket.closed and socket.context is not theirs] == []
    assert [context for context in contexts if not context.closed and context is not theirs] == []
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert [thread for thread in left if type(thread).__name__ != "GarbageCollectorThread"] == []


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle: lateral displacement is current - reference."""
    return tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture
def engine(bundle: Bundle) -> Iterator[Engine]:
    """ONNX Runtime on the tiny bundle."""
    with closing(open_engine(bundle, threads=1)) as opened:
        yield opened


@pytest.fixture
def source() -> Iterator[Source]:
    """A source that servers of type pull connect to."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.linger = 0
        socket.sndtimeo = round(1e3 * TIMEOUT_S)
        socket.bind("tcp://127.0.0.1:0")
        yield Source(socket)


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


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """Images leave from it, once a client is there."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.linger = 0
        socket.bind("tcp://127.0.0.1:0")
        yield Publisher(socket)
