"""IQ on the live path: over real sockets, through a real engine, to images, records, figures and replies."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from control_room import STATUS, Room
from live import SCAN, SHAPE, Feed, Source, books_balance, make_server, numbered_message, running, wait_until
from server_process import ServerProcess, UsertProcess
from tiny_bundle import STRAIN, tiny_bundle

from usert.frame import RFFrame, Scan
from usert.iq import turned_down
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import READABLE_QUALITY
from usert.recording import write_recording
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines import iq_pair
from usert.runtime.engines.interface import Engine, FrameFormat
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.record.contents import Record
from usert.runtime.record.rerun import rerun
from usert.runtime.server.server import StrainServer

IQ = replace(SCAN, fs_hz=10e6, demodulation_hz=6.5e6)
BY_DEPTH = replace(IQ, demodulation_hz=((0.0, 6.5e6), (20.0, 6e6)))


def iq_samples(sequence: int, shape: tuple[int, int] = SHAPE, dtype: Any = np.int16) -> np.ndarray:
    return np.random.default_rng(sequence).integers(-1000, 1000, (*shape, 2)).astype(dtype)


def next_image(feed: Feed, samples: np.ndarray | None = None, scan: Scan = IQ) -> StrainMessage:
    """The first image of IQ frames from now on; sent until there is one, for a session begins without."""
    while True:
        feed.next(samples=iq_samples(feed.sequence + 1) if samples is None else samples, scan=scan)
        heard = feed.client.receive(0.5)
        if heard is not None and heard.current.sequence == feed.sequence and heard.scan == scan:
            return heard


def same(image: StrainMessage, expected: Any) -> bool:
    return all(
        np.array_equal(getattr(image, name), getattr(expected, name))
        for name in ("displacement", "strain", "quality")
    )


@pytest.mark.parametrize("scan", [IQ, BY_DEPTH])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_an_image_is_that_of_its_two_iq_frames(
    server: StrainServer, feed: Feed, engine: Engine, scan: Scan, dtype: Any
) -> None:
    samples = [iq_samples(k, dtype=dtype) for k in range(2)]
    next_image(feed, samples[0], scan)
    image = next_image(feed, samples[1], scan)
    assert image.shape == SHAPE
    assert image.scan == scan
    assert same(image, engine.run(*samples, scan))
    assert image.mean_strain == STRAIN


def test_a_frame_is_turned_up_once(server: StrainServer, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the current frame; it stays so for the pair that it is the reference of."""
    turned: list[bytes] = []
    convert = iq_pair.turned_up
    monkeypatch.setattr(
        iq_pair,
        "turned_up",
        lambda samples, *rest: turned.append(samples.tobytes()) or convert(samples, *rest),
    )
    next_image(feed)
    turned.clear()
    for _ in range(5):
        next_image(feed)
    assert len(turned) == len(set(turned)) >= 5


def test_what_begins_a_session_of_iq(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    feed, counts = room.feed, room.server.counts
    expected = []
    for scan, reason in (
        (IQ, "demodulation_hz none → 6.5e6"),
        (replace(IQ, demodulation_hz=6.6e6), "geometry: demodulation_hz 6.5e6 → 6.6e6"),
        (BY_DEPTH, "geometry: demodulation_hz 6.6e6 → ((0.0, 6500000.0), (20.0, 6000000.0))"),
    ):
        next_image(feed, scan=scan)
        [stream] = room.console.ask(STATUS)["streams"]
        expected.append(reason)
        assert reason in str(stream["session_reason"])
    assert all(reason in caplog.text for reason in expected)
    assert "24 x 8 int16 IQ" in caplog.text
    sessions = room.server.counts.frames.sessions
    assert sessions == counts.frames.sessions + 3
    for k in range(6):  # rounding
        step = 1 + 1e-9 * k
        feed.next(
            samples=iq_samples(k),
            scan=replace(BY_DEPTH, demodulation_hz=((0.0, 6.5e6 * step), (20.0, 6e6 / step))),
        )
        assert feed.image().scan == BY_DEPTH
    assert room.server.counts.frames.sessions == sessions


def test_rf_and_iq_of_two_sources_at_once(server: StrainServer, feed: Feed, engine: Engine) -> None:
    seen: dict[str, StrainMessage] = {}
    sent: dict[tuple[str, int], np.ndarray] = {}
    for k in range(1, 200):
        for stream, scan, samples in (("rf", SCAN, iq_samples(k)[..., 0]), ("iq", IQ, iq_samples(k))):
            sent[stream, k] = samples
            feed.source.send(numbered_message(k, stream=stream, samples=samples, scan=scan))
            image = feed.client.receive(0.2)
            if image is not None:
                seen[image.stream] = image
        if len(seen) == 2 and k > 3:
            break
    for stream, scan in (("rf", SCAN), ("iq", IQ)):
        image = seen[stream]
        pair = [sent[stream, stamp.sequence] for stamp in (image.reference, image.current)]
        assert image.scan == scan
        assert same(image, engine.run(*pair, scan))


@pytest.mark.parametrize("fault", ["constant", "nan"])
def test_a_bad_iq_frame_costs_its_pairs(server: StrainServer, feed: Feed, fault: str) -> None:
    samples = iq_samples(1, dtype=np.float32)
    next_image(feed, samples)
    bad = np.full_like(samples, 7) if fault == "constant" else np.where(samples > 990, np.nan, samples)
    feed.next(samples=bad.astype(np.float32), scan=IQ)
    next_image(feed, iq_samples(2, dtype=np.float32))
    next_image(feed, iq_samples(3, dtype=np.float32))
    wait_until(lambda: books_balance(server))
    assert 1 <= server.counts.failed["FrameError"] <= 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"demodulation_hz": None}, "demodulated samples (IQ) need demodulation_hz"),
        ({"demodulation_hz": None, "fs_hz": 40e6}, "shape: got [24, 8, 2] and no demodulation_hz"),
        ({"shape": [*SHAPE]}, "shape: got [24, 8] and demodulation_hz, expected [N, M, 2]"),
        ({"shape": [*SHAPE, 3]}, "shape: got [24, 8, 3], expected [N, M, 2]"),
        ({"demodulation_hz": 13e6}, "demodulation_hz: got 1.3e+07, expected within half of fs_hz"),
        ({"demodulation_hz": [[0, 6e6], [0, 6e6]]}, "rising"),
        ({"demodulation_hz": "6.5"}, "demodulation_hz"),
    ],
)
def test_a_message_that_contradicts_itself_is_counted_and_named(
    server: StrainServer,
    feed: Feed,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    words: str,
) -> None:
    frame = RFFrame(samples=iq_samples(1), scan=IQ, sequence=1)
    head, samples = RFMessage(frame=frame, stream="test").to_parts()
    fields = json.loads(bytes(head)) | changes
    if fields["demodulation_hz"] is None:
        del fields["demodulation_hz"]
    feed.source.send_parts(json.dumps(fields).encode(), samples)
    wait_until(lambda: bool(server.counts.malformed))
    assert words in caplog.text
    next_image(feed)


def test_rows_of_iq_are_cut_with_their_demodulation(engine: Engine, source: Source) -> None:
    first, end = 6, 40
    scan = replace(IQ, demodulation_hz=((0.0, 6.5e6), (35.0, 6e6)))
    with (
        running(make_server(engine, source, rows=(first, end))) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        cut = scan.of_rows(first, end)
        assert cut.demodulation_hz == ((-6.0, 6.5e6), (29.0, 6e6))
        assert cut.first_depth_mm == pytest.approx(first * 0.077)
        feed = Feed(source, client)
        image = None
        while image is None:
            feed.next(samples=iq_samples(feed.sequence + 1, (50, 8)), scan=scan)
            image = client.receive(0.05)
        stamps = image.reference, image.current
        pair = [iq_samples(stamp.sequence, (50, 8))[first:end] for stamp in stamps]
        assert image.scan == cut
        assert same(image, engine.run(*pair, cut))


def test_rectangles_of_iq_are_in_millimetres(room: Room) -> None:
    """Rows of IQ are .077 mm apart here, four times as far as those of the RF."""
    samples = iq_samples(1, (60, 30))
    for depth, refused in (("0:3.1", ""), ("0:4.7", "outside")):
        room.ask("roi", target=f"{depth},0:2.7", background=f"{depth},3:6")
        next_image(room.feed, samples)
        ratio = next_image(room.feed, iq_samples(2, (60, 30))).ratio
        assert ratio is not None
        assert ratio.refused == refused
        if not refused:
            assert ratio.target is not None
            assert ratio.target.pixels == 41 * 10


def test_a_record_of_iq_is_made_again_bit_for_bit(room: Room, engine: Engine, folder: Path) -> None:
    next_image(room.feed, scan=BY_DEPTH)
    room.ask("record", path="iq.h5", displacement=True)
    for _ in range(3):
        next_image(room.feed, scan=BY_DEPTH)
    room.ask("record-stop")
    with Record(folder / "iq.h5") as record:
        assert record.recording.scan == BY_DEPTH
        last = record.frame(room.feed.sequence)
        assert last is not None
        assert np.array_equal(last.samples, iq_samples(room.feed.sequence))
        report = rerun(record, engine)
    assert report.identical == report.compared > 0


def test_a_comparison_counts_rows_of_iq(room: Room) -> None:
    next_image(room.feed)
    asked: list[dict[str, object]] = []
    thread = threading.Thread(target=lambda: asked.append(room.ask("compare")))
    thread.start()
    while thread.is_alive():
        next_image(room.feed)
    thread.join()
    assert asked[0]["limit_samples"] == pytest.approx(0.25 * 0.1625 / 0.7)


def test_another_bundle_takes_over_warm_for_iq(room: Room, tmp_path: Path) -> None:
    """Of graphs for one shape alone: that to which these frames are turned up, and no frame has."""
    next_image(room.feed)
    rows = round(24 * 0.7 / 0.1625 + 0.5)
    fixed = tiny_bundle(tmp_path / "fixed", shapes=((rows, SHAPE[1]),))
    result = room.ask("bundle", path=str(fixed.folder))
    assert result["shapes"] == [list(SHAPE)]
    assert result["check"] is not None
    assert room.server.engine.warm == (FrameFormat(SHAPE, IQ),)
    assert next_image(room.feed).weights_hash == fixed.manifest.weights.sha256
    assert "expected" in room.refused(
        "bundle", path=str(tiny_bundle(tmp_path / "b", shapes=((64, 8),)).folder)
    )


def test_one_tissue_replayed_as_rf_and_as_iq_gives_one_strain(tmp_path: Path) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(512, 128)), seed=0)
    press = [scanner.frame(k) for k in (10, 16)]
    scan = replace(press[0].scan, fs_hz=press[0].scan.fs_hz / 3, demodulation_hz=6.2e6)
    iq = [
        replace(frame, samples=np.rint(turned_down(frame.samples, scan, 3)).astype(np.int16), scan=scan)
        for frame in press
    ]
    images: list[StrainMessage] = []
    for name, frames in (("rf.h5", press), ("iq.h5", iq)):
        write_recording(tmp_path / name, frames)
        with (
            UsertProcess(
                "replay", tmp_path / name, "--publish", "tcp://127.0.0.1:0", "--rate", 20, "--loop"
            ) as replay,
            ServerProcess(
                *("--rf", replay.wait_for(r"rf on (\S+)"), "--publish", "tcp://127.0.0.1:0", "--lag", 1),
                *("--engine", "onnxruntime", "--threads", 1),
            ) as server,
            StrainClient(server.wait_for(r"strain on (\S+)")) as client,
        ):
            image = client.receive(60)
            assert image is not None
            images.append(image)
    rf, found = images
    assert found.shape == (171, 128)
    assert found.scan.pitch_mm[0] == pytest.approx(3 * rf.scan.pitch_mm[0])
    readable = np.minimum(rf.quality[::3], found.quality) >= READABLE_QUALITY
    assert readable.mean() > 0.9
    assert 100 * np.sqrt(np.mean((rf.strain[::3] - found.strain)[readable] ** 2)) < 0.02
    assert found.readable_strain == pytest.approx(rf.readable_strain, rel=0.02)
    assert "not_rf" not in found.warnings
