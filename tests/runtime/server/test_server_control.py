"""A live server that is told what to do, over its control channel."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import zmq
from live import SHAPE, TIMEOUT_S, Feed, Source, running, wait_until
from tiny_bundle import STRAIN, other_bundle, tiny_bundle

from usert.bundle import Bundle
from usert.errors import ControlError
from usert.runtime.clients.control_client import Controller
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.strain_ratio import Rectangle
from usert.runtime.protocol.commands import Command
from usert.runtime.protocol.messages import StrainMessage
from usert.runtime.record.record import Provenance, Record
from usert.runtime.record.recorder import Recorder
from usert.runtime.record.switch import RecordSwitch
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer

STATUS = Command(name="status")
LEFT, RIGHT = "0:0.4,0:0.9", "0:0.4,1.2:2.1"
BOTH = (Rectangle.parse(LEFT), Rectangle.parse(RIGHT))


class Room:
    """A server that takes commands, its source, a client and a console."""

    def __init__(self, server: StrainServer, feed: Feed, console: Controller) -> None:
        self.server = server
        self.feed = feed
        self.console = console

    def image(self) -> StrainMessage:
        """The image of a frame of now, however long the last one is ago."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            assert time.monotonic() < deadline
            self.feed.next()
            message = self.feed.client.receive(1.0)
            if message is not None and message.current.sequence == self.feed.sequence:
                return message

    def ask(self, name: str, **arguments: object) -> dict[str, object]:
        return self.console.ask(Command(name=name, **arguments))  # type: ignore[arg-type]

    def refused(self, name: str, **arguments: object) -> str:
        with pytest.raises(ControlError) as raised:
            self.ask(name, **arguments)
        assert "\n" not in str(raised.value)
        return str(raised.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of records."""
    (tmp_path / "records").mkdir()
    return tmp_path / "records"


@pytest.fixture
def room(engine: Engine, bundle: Bundle, source: Source, folder: Path) -> Iterator[Room]:
    def recorder(path: Path, displacement: bool) -> Recorder:
        provenance = Provenance.of(bundle, engine="onnxruntime", precision=None, threads=1)
        return Recorder(path, provenance, displacement=displacement)

    def opened(bundle: Bundle, engine: str, precision: str) -> Engine:
        return open_engine(bundle, engine=engine or "onnxruntime", threads=1, precision=precision or None)

    server = StrainServer(
        engine=engine,
        config=ServerConfig(
            rf=source.endpoint,
            rf_type="pull",
            publish="tcp://127.0.0.1:0",
            control="tcp://127.0.0.1:0",
        ),
        weights_hash=bundle.manifest.weights.sha256,
        bundle=bundle.folder,
        switch=RecordSwitch(folder=folder, make=recorder),
        open_bundle=opened,
    )
    with ExitStack() as stack:
        stack.enter_context(running(server))
        client = stack.enter_context(StrainClient(server.publish_endpoint))
        assert server.control_endpoint is not None
        console = stack.enter_context(Controller(server.control_endpoint))
        feed = Feed(source, client)
        feed.prime()
        yield Room(server, feed, console)


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


def test_a_record_begins_and_ends_while_images_go_on(room: Room, folder: Path) -> None:
    assert room.ask("record", path="case.h5") == {"record": str(folder / "case.h5")}
    assert "is being recorded" in room.refused("record", path="other.h5")
    assert "a record is being written" in room.refused("bundle", path="/nowhere")
    begun = room.feed.sequence
    for _ in range(3):
        room.feed.next()
        room.feed.image()
    done = room.ask("record-stop")
    assert done["frames"] == {"received": 3, "recorded": 3, "missing": {}}
    with Record(folder / "case.h5") as record:
        assert record.frames["sequence"].tolist() == [begun + 1, begun + 2, begun + 3]
        assert len(record.images) == 3
    assert room.refused("record-stop") == "record-stop: nothing is being recorded"
    room.feed.next()
    room.feed.image()
    assert "case.h5 is there already" in room.refused("record", path="case.h5")


@pytest.mark.parametrize("name", ["../out.h5", "/tmp/out.h5", "a/b.h5", ".h5", ".hidden.h5", "case.txt"])
def test_a_record_goes_to_the_folder_of_records_and_nowhere_else(room: Room, name: str) -> None:
    assert "expected the name of a new file in" in room.refused("record", path=name)


def test_another_bundle_takes_over_between_two_frames(room: Room, tmp_path: Path) -> None:
    before = room.image()
    other = other_bundle(tmp_path / "other", strain=2 * STRAIN)
    result = room.ask("bundle", path=str(other.folder))
    assert result["weights_sha256"] == other.manifest.weights.sha256
    assert result["check"] is not None
    after = room.image()
    assert (before.mean_strain, after.mean_strain) == (STRAIN, 2 * STRAIN)
    assert after.weights_hash == other.manifest.weights.sha256 != before.weights_hash
    assert room.console.ask(STATUS)["server"]["bundle"] == str(other.folder)


def test_no_record_spans_a_change_of_bundle(
    room: Room, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two was asked for first, the other is refused until that has ended."""
    before, other = room.image(), other_bundle(tmp_path / "other", strain=2 * STRAIN)
    begun, gate = threading.Event(), threading.Event()
    plain = room.server._handlers._open_bundle
    assert plain is not None

    def slow(bundle: Bundle, engine: str, precision: str) -> Engine:
        begun.set()
        assert gate.wait(TIMEOUT_S)
        return plain(bundle, engine, precision)

    monkeypatch.setattr(room.server._handlers, "_open_bundle", slow)
    answers: list[dict[str, object]] = []
    thread = threading.Thread(target=lambda: answers.append(room.ask("bundle", path=str(other.folder))))
    thread.start()
    assert begun.wait(TIMEOUT_S)
    assert room.server.control_endpoint is not None
    with Controller(room.server.control_endpoint) as second:
        with pytest.raises(ControlError, match="record: another bundle is being loaded"):
            second.ask(Command(name="record", path="case.h5"))
        gate.set()
        thread.join(TIMEOUT_S)
        assert answers[0]["weights_sha256"] == other.manifest.weights.sha256 != before.weights_hash
        assert second.ask(Command(name="record", path="case.h5")) == {"record": str(folder / "case.h5")}
        with pytest.raises(ControlError, match="a record is being written"):
            second.ask(Command(name="bundle", path=str(other.folder)))
    room.ask("record-stop")


def test_comparisons_that_nobody_waits_for_any_more_block_nothing(room: Room) -> None:
    """64 of clients that are gone, while the scanner rests."""
    assert room.server.control_endpoint is not None
    with zmq.Context() as context:
        for _ in range(8):
            with context.socket(zmq.DEALER) as socket:
                socket.linger = round(1e3 * TIMEOUT_S)
                socket.connect(room.server.control_endpoint)
                for _ in range(8):
                    socket.send_multipart(Command(name="compare").to_parts())
    wait_until(lambda: len(room.server._handlers._compare) == 64)
    assert "too many commands" in room.refused("freeze")
    assert room.console.ask(STATUS)["server"]["health"] == "ok"
    assert room.refused("record-stop") == "record-stop: nothing is being recorded"
    assert room.ask("quit") == {}


def test_a_bundle_that_fails_its_check_changes_nothing(room: Room, tmp_path: Path) -> None:
    before = room.image()
    blind = other_bundle(tmp_path / "blind", quality=0.0)
    assert "refused: frame score" in room.refused("bundle", path=str(blind.folder))
    broken = tiny_bundle(tmp_path / "broken")
    with (broken.folder / "strain.onnx").open("r+b") as file:
        file.write(b"x")
    assert "broken" in room.refused("bundle", path=str(broken.folder))
    assert "no such folder" in room.refused("bundle", path=str(tmp_path / "none"))
    after = room.image()
    assert (after.weights_hash, after.mean_strain) == (before.weights_hash, before.mean_strain)
    assert room.server.counts.failed == {}


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
        Controller(server.control_endpoint) as console,
    ):
        for command, expected in (
            (Command(name="record", path="a.h5"), "--record-folder"),
            (Command(name="bundle", path="/b"), "cannot change it"),
            (Command(name="freeze"), "none has sent a frame"),
        ):
            with pytest.raises(ControlError, match=expected):
                console.ask(command)
        assert console.ask(Command(name="roi", target=LEFT, background=RIGHT)) == {"streams": []}
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
