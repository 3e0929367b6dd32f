"""What a spare does with a real engine while it waits."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from live import wait_until
from tiny_bundle import tiny_bundle

from usert.frame import Shape
from usert.runtime.engines import open_engine, specialised
from usert.runtime.engines.interface import FrameFormat
from usert.runtime.engines.openvino import OpenVinoEngine
from usert.runtime.failover.handover import Channel, Handover
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.launch import Site, warm_up

SHAPES = ((40, 12), (33, 7), (64, 5))


def compiled_for(engine: OpenVinoEngine) -> set[Shape]:
    return {key.sizes.shape for key in engine._specialised._sessions}


def test_a_spare_compiles_nothing_that_it_would_have_to_end_before_it_serves(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    bundle, channel, handover = tiny_bundle(tmp_path / "b"), Channel(ours), Handover(theirs.detach())
    for n, m in SHAPES:
        channel.send("warm", f"{n}x{m}")
    channel.send("serve")
    config = ServerConfig(rf="tcp://127.0.0.1:0", publish="tcp://127.0.0.1:0")
    site = Site(config=config, bundle=bundle, open_engine=open_engine, lag="auto")
    with (
        closing(OpenVinoEngine(bundle, threads=1)) as engine,
        closing(channel),
        closing(handover._channel),
    ):
        assert warm_up(engine, site, handover) == tuple(map(FrameFormat, SHAPES))
        assert engine._sessions
        assert not compiled_for(engine)


def test_a_spare_compiles_beside_while_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specialised, "SETTLED_S", 0.0)
    monkeypatch.setattr("usert.runtime.failover.handover._AGAIN_S", (0.0,))
    ours, theirs = socket.socketpair()
    channel, handover = Channel(ours), Handover(theirs.detach())
    with (
        closing(OpenVinoEngine(tiny_bundle(tmp_path / "b"), threads=1)) as engine,
        closing(channel),
        closing(handover._channel),
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(handover.wait, engine.warm_up_gradually)
        channel.send("warm", "{}x{}".format(*SHAPES[0]))
        wait_until(lambda: compiled_for(engine) == {SHAPES[0]})
        channel.send("serve")
        assert waiting.result(60) == (FrameFormat(SHAPES[0]),)
