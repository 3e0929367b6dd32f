"""The live server with keys: who is let in sees the images, who is not or no longer sees nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from live import Feed, Source, make_server, running, wait_until
from secured_publisher import KeyRing

from usert.errors import OptionError
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.server.config import ServerConfig


def test_a_client_sees_while_its_key_is_in_the_folder(tmp_path: Path, engine: Engine, source: Source) -> None:
    ring = KeyRing(tmp_path)
    ring.allow("one", "two")
    with (
        running(make_server(engine, source, keys=ring.server())) as server,
        StrainClient(server.publish_endpoint, keys=ring.client("one")) as one,
        StrainClient(server.publish_endpoint, keys=ring.client("two")) as two,
        StrainClient(server.publish_endpoint, keys=ring.client("stranger")) as stranger,
        StrainClient(server.publish_endpoint) as without,
    ):
        feed = Feed(source, one)
        feed.prime()
        wait_until(lambda: not _misses(feed, two))
        ring.revoke("two")
        wait_until(lambda: _misses(feed, two))
        feed.prime()
        for _ in range(5):
            feed.next()
            feed.image()
        for blind in (two, stranger, without):
            assert blind.receive(0) is None
        assert stranger.malformed == without.malformed == {}


def _misses(feed: Feed, cut: StrainClient) -> bool:
    """Whether a frame that was just sent gave no image to `cut`, while the server goes on."""
    feed.next()
    return cut.receive(0.2) is None


def test_an_open_address_needs_keys(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    with pytest.raises(OptionError, match=r"0\.0\.0\.0"):
        ServerConfig(rf="tcp://127.0.0.1:5555", publish="tcp://0.0.0.0:0")
    ServerConfig(rf="tcp://127.0.0.1:5555", publish="tcp://0.0.0.0:0", keys=ring.server())
