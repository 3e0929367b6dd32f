"""Over its control channel a live server begins and ends records, and changes its bundle."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from control_room import STATUS, Room
from live import SCAN, SHAPE, TIMEOUT_S, Feed, Source, WrappedEngine, running
from tiny_bundle import STRAIN, other_bundle, tiny_bundle

from usert.bundle import Bundle
from usert.errors import ControlError
from usert.frame import Scan
from usert.runtime.clients.control_client import ControlClient
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.commands import (
    ChangeBundle,
    StartRecord,
)
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.record.contents import Record
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer


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


def image_of(feed: Feed, shape: tuple[int, int]) -> StrainMessage:
    """An image of frames of `shape`, which are sent until there is one."""
    for _ in range(50):
        feed.next(shape=shape)
        image = feed.client.receive(0.5)
        if image is not None and image.strain.shape == shape:
            return image
    raise AssertionError(f"no image of {shape}")


def test_a_session_that_begins_while_a_bundle_loads_finds_its_graph_open(
    engine: Engine, bundle: Bundle, source: Source, tmp_path: Path
) -> None:
    """The second begins while the new engine warms up for the first, the third while it does so for the second."""
    shapes = [SHAPE, (32, 12), (40, 16)]
    gates = {shape: threading.Event() for shape in shapes}
    warming: queue.SimpleQueue[tuple[tuple[int, int], str]] = queue.SimpleQueue()

    class Gated(WrappedEngine):
        def warm_up(self, shape: tuple[int, int], scan: Scan | None = None) -> None:
            assert scan == SCAN  # of another sampling it might open another graph
            warming.put((shape, threading.current_thread().name))
            assert gates[shape].wait(TIMEOUT_S)
            super().warm_up(shape, scan)

    config = ServerConfig(
        rf=source.endpoint, rf_type="pull", publish="tcp://127.0.0.1:0", control="tcp://127.0.0.1:0"
    )
    server = StrainServer(
        engine=engine,
        config=config,
        bundle=bundle.folder,
        open_bundle=lambda bundle, *_: Gated(open_engine(bundle, engine="onnxruntime", threads=1)),
    )
    other = other_bundle(tmp_path / "other", strain=2 * STRAIN)
    with (
        running(server),
        StrainClient(server.publish_endpoint) as client,
        ControlClient(str(server.control_endpoint)) as console,
        ThreadPoolExecutor(1) as pool,
    ):
        feed = Feed(source, client)
        feed.prime()
        asked = pool.submit(console.ask, ChangeBundle(path=str(other.folder)))
        for shape, following in zip(shapes, [*shapes[1:], None], strict=True):
            assert warming.get(timeout=TIMEOUT_S) == (shape, "bundle")
            if following is not None:
                assert image_of(feed, following).mean_strain == STRAIN
            gates[shape].set()
        assert asked.result(TIMEOUT_S)["shapes"] == [list(shape) for shape in shapes]
        assert image_of(feed, shapes[-1]).mean_strain == 2 * STRAIN
    assert warming.empty()


def test_a_record_names_the_bundle_and_the_engine_that_run_when_it_begins(
    room: Room, bundle: Bundle, tmp_path: Path, folder: Path
) -> None:
    other = other_bundle(tmp_path / "other", strain=2 * STRAIN)
    asked = {"engine": "openvino", "precision": "float32"}
    expected = [(bundle, {"engine": "onnxruntime", "precision": ""}), (other, asked)]
    for case, (runs, configuration) in enumerate(expected):
        if runs is other:
            room.ask("bundle", path=str(other.folder), **asked)
        room.ask("record", path=f"case{case}.h5")
        room.image()
        room.ask("record-stop")
        with Record(folder / f"case{case}.h5") as record:
            assert record.attributes["bundle_sha256"] == runs.sha256
            assert record.configuration == configuration


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
    with ControlClient(room.server.control_endpoint) as second:
        with pytest.raises(ControlError, match=r"^record: .*bundle"):
            second.ask(StartRecord(path="case.h5"))
        gate.set()
        thread.join(TIMEOUT_S)
        assert answers[0]["weights_sha256"] == other.manifest.weights.sha256 != before.weights_hash
        assert second.ask(StartRecord(path="case.h5")) == {"record": str(folder / "case.h5")}
        with pytest.raises(ControlError, match=r"^bundle: .*record"):
            second.ask(ChangeBundle(path=str(other.folder)))
    room.feed.next()
    room.feed.image()
    room.ask("record-stop")
    with Record(folder / "case.h5") as record:
        assert record.attributes["weights_sha256"] == other.manifest.weights.sha256


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
