"""A live server that is told what to do, over its control channel."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest
import zmq
from control_room import BOTH, LEFT, RIGHT, STATUS, Room
from live import SHAPE, TIMEOUT_S, Feed, Source, running, wait_until
from tiny_bundle import STRAIN

from usert.bundle import Bundle
from usert.errors import ControlError
from usert.runtime.clients.control_client import ControlClient
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.commands import (
    ChangeBundle,
    Compare,
    Freeze,
    SetRegions,
    StartRecord,
)
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer


def test_the_status_is_that_of_the_server(room: Room, bundle: Bundle) -> None:
    room.feed.next()
    image = room.feed.image()
    status = room.console.ask(STATUS)
    assert list(status) == [
        "server",
        "output",
        "frames",
        "failed",
        "malformed",
        "denied",
        "streams",
        "record",
    ]
    assert status["server"]["weights_sha256"] == bundle.manifest.weights.sha256
    assert (status["server"]["health"], status["record"]) == ("ok", None)
    assert status["output"]["images"] == image.counters.published == room.server.counts.published
    assert status["frames"]["received"] == room.feed.source.frames
    [stream] = status["streams"]
    assert (stream["stream"], stream["sequence"], stream["state"]) == ("test", room.feed.sequence, "live")
    assert stream["shape"] == list(SHAPE)
    assert stream["signal"] is None  # too small to be judged


def test_the_specification_lists_what_is_answered(room: Room, folder: Path) -> None:
    page = Path(__file__).parents[3].joinpath("docs", "protocol.md").read_text(encoding="utf-8")
    said = set(re.findall(r"`(\w+)`", page[page.index("## `reply`") :]))

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*(keys(inner) for inner in value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    room.image()
    room.ask("roi", target=LEFT, background=RIGHT)
    room.ask("record", path="a.h5")
    status = room.console.ask(STATUS)
    for result in (status, room.ask("record-stop"), room.ask("freeze"), room.ask("resume")):
        assert keys(result) <= said


def test_a_frozen_image_stays_until_it_is_let_go(room: Room) -> None:
    room.feed.next()
    good = room.feed.image()
    assert room.ask("freeze") == {"streams": ["test"]}
    for _ in range(2):
        room.feed.next()
        frozen = room.feed.image()
        assert (frozen.state, frozen.reason) == ("held", "frozen")
        assert frozen.current == good.current
        assert frozen.published_ns > good.published_ns
    assert room.server.frozen_streams == 1
    assert room.ask("resume", stream="test") == {"streams": ["test"]}
    room.feed.next()
    again = room.feed.image()
    assert (again.state, again.current.sequence) == ("live", room.feed.sequence)


def test_a_stream_that_is_not_there_is_named(room: Room) -> None:
    for name in ("freeze", "resume", "roi-clear", "compare"):
        assert room.refused(name, stream="x") == "stream: got 'x', expected one of 'test'"


def test_two_rectangles_are_read_in_every_image_until_they_are_cleared(room: Room) -> None:
    assert room.ask("roi", target=LEFT, background=RIGHT) == {"streams": ["test"]}
    room.feed.next()
    ratio = room.feed.image().ratio
    assert ratio is not None
    assert ratio.refused == "unreadable", "the rectangles have fewer than 100 pixels"
    assert ratio.target is not None
    assert ratio.target.mean_strain == STRAIN
    assert room.console.ask(STATUS)["streams"][0]["target"] == LEFT
    room.feed.sequence = 0  # the source starts again: they stay
    room.feed.next()
    room.feed.next()
    assert room.feed.image().ratio is not None
    room.ask("roi-clear")
    room.feed.next()
    assert room.feed.image().ratio is None


def test_comparisons_that_nobody_waits_for_any_more_block_nothing(room: Room) -> None:
    """64 of clients that are gone, while the scanner rests."""
    assert room.server.control_endpoint is not None
    with zmq.Context() as context:
        for _ in range(8):
            with context.socket(zmq.DEALER) as socket:
                socket.linger = round(1e3 * TIMEOUT_S)
                socket.connect(room.server.control_endpoint)
                for _ in range(8):
                    socket.send_multipart(Compare().to_parts())
    wait_until(lambda: len(room.server._handlers._compare) == 64)
    assert "too many commands" in room.refused("freeze")
    assert room.console.ask(STATUS)["server"]["health"] == "ok"
    assert room.refused("record-stop") == "record-stop: nothing is being recorded"
    assert room.ask("quit") == {}


def test_a_pair_is_run_both_ways_on_demand(room: Room) -> None:
    answers: list[dict[str, object]] = []
    thread = threading.Thread(target=lambda: answers.append(room.ask("compare")))
    thread.start()
    while thread.is_alive():
        room.feed.next()
        room.feed.image()
    thread.join(TIMEOUT_S)
    [found] = answers
    assert found["stream"] == "test"
    assert found["current"] == found["reference"] + 1  # type: ignore[operator]
    assert found["compared_share"] is not None


def test_quit_ends_the_server(room: Room) -> None:
    assert room.ask("quit") == {}
    wait_until(lambda: room.server.stopping)


def test_a_command_that_waits_when_the_server_closes_is_answered(room: Room) -> None:
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(room.refused("compare")))
    thread.start()
    wait_until(lambda: bool(room.server._handlers._compare))
    room.server.stop()
    room.server.__exit__(None, None, None)
    thread.join(TIMEOUT_S)
    assert said == ["the server is closing"]


def test_a_server_without_a_folder_or_a_way_to_open_bundles_says_so(engine: Engine, source: Source) -> None:
    config = ServerConfig(
        rf=source.endpoint, rf_type="pull", publish="tcp://127.0.0.1:0", control="tcp://127.0.0.1:0"
    )
    with (
        running(StrainServer(engine=engine, config=config)) as server,
        ControlClient(server.control_endpoint) as console,
    ):
        for command, expected in (
            (StartRecord(path="a.h5"), "--record-folder"),
            (ChangeBundle(path="/b"), "^bundle: .*cannot"),
            (Freeze(), "^stream: got .*expected .* frame$"),
        ):
            with pytest.raises(ControlError, match=expected):
                console.ask(command)
        assert console.ask(SetRegions(target=LEFT, background=RIGHT)) == {"streams": []}
        client = StrainClient(server.publish_endpoint)
        with client:
            feed = Feed(source, client)
            feed.prime()
            feed.next()
            assert feed.image().ratio is not None, "of every source to come"


def test_rectangles_of_the_configuration_are_read_from_the_first_image(
    engine: Engine, source: Source
) -> None:
    config = ServerConfig(rf=source.endpoint, rf_type="pull", publish="tcp://127.0.0.1:0", rectangles=BOTH)
    with (
        running(StrainServer(engine=engine, config=config)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        feed = Feed(source, client)
        feed.prime()
        feed.next()
        ratio = feed.image().ratio
        assert ratio is not None
        assert np.isfinite(ratio.quality or 0)
