"""A record makes its images again, bit for bit, by the engine that made them; and what differs is found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from live import numbered_frame, received_frame
from numpy.typing import NDArray
from tiny_bundle import tiny_bundle

from usert.bundle import Bundle
from usert.errors import RecordingError
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.frames import FrameStamp, ReceivedFrame
from usert.runtime.imaging.image_quality import ImageQualityRule, assess
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.protocol.strain_message import Counters, StrainMessage
from usert.runtime.record.contents import Provenance, Record
from usert.runtime.record.file import RecordedImage
from usert.runtime.record.recorder import Recorder
from usert.runtime.record.rerun import rerun

PAIRS = ((0, 1), (1, 2), (0, 3), (2, 4))


@pytest.fixture
def engine(bundle: Bundle) -> Iterator[Engine]:
    """The one that the records here are made by, whichever is best."""
    with closing(open_engine(bundle, engine="onnxruntime", threads=1)) as opened:
        yield opened


def through_the_wire(k: int) -> ReceivedFrame:
    """Frame `k` as a server has it: from the parts of a message, in buffers of their own."""
    sent = RFMessage(frame=numbered_frame(k, time_ns=k), stream="s", clock="c")
    parts = [memoryview(bytes(part)) for part in sent.to_parts()]
    return received_frame(RFMessage.from_parts(parts), received_ns=k)


def published(estimate: Estimate, reference: int, current: int) -> StrainMessage:
    """An image as a client has it."""
    stamps = [FrameStamp(sequence=k, time_ns=k, acquired_ns=0) for k in (reference, current)]
    message = StrainMessage(
        stream="s",
        session=1,
        reference=stamps[0],
        current=stamps[1],
        source_clock="c",
        server_clock="d",
        received_ns=1,
        matched_ns=2,
        started_ns=3,
        published_ns=4,
        state="live",
        scan=numbered_frame().scan,
        counters=Counters(received=1, dropped=0, malformed=0, published=1),
        weights_hash="",
        mean_strain=float(estimate.strain.mean()),
        mean_quality=float(estimate.quality.mean()),
        displacement=estimate.displacement,
        strain=estimate.strain,
        quality=estimate.quality,
    )
    return StrainMessage.from_parts([memoryview(bytes(part)) for part in message.to_parts()])


def recorded(path: Path, bundle: Bundle, engine: Engine, *, displacement: bool, lost: int = -1) -> Path:
    """A record of five frames, without frame `lost`, and the images of `PAIRS`."""
    provenance = Provenance.of(bundle, engine="onnxruntime", threads=1, precision=None)
    frames = [through_the_wire(k) for k in range(5)]
    with Recorder(path, provenance, displacement=displacement) as recorder:
        for k, frame in enumerate(frames):
            if k != lost:
                recorder.put_frame(frame)
        for reference, current in PAIRS:
            samples = [frames[k].frame.samples for k in (reference, current)]
            message = published(engine.run(*samples), reference, current)
            estimate = Estimate(
                displacement=message.displacement, strain=message.strain, quality=message.quality
            )
            recorder.put_image(
                RecordedImage(
                    reference=reference,
                    current=current,
                    received_ns=message.received_ns,
                    matched_ns=message.matched_ns,
                    started_ns=message.started_ns,
                    quality=assess(estimate, ImageQualityRule()),
                    estimate=estimate,
                    engine=engine.name,
                    message=message,
                )
            )
    return path


def spoil(path: Path, name: str, k: int) -> None:
    """One bit of one value of image `k`."""
    with h5py.File(path, "r+") as file:
        values: NDArray[np.float32] = file[f"record/{name}"][k]
        values.view(np.uint32)[..., 3, 2] ^= 1
        file[f"record/{name}"][k] = values


def usert(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "usert", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("displacement", "at_once"), [(False, 1), (True, 1), (True, 2)])
def test_the_same_engine_gives_the_same_bits(
    tmp_path: Path, bundle: Bundle, engine: Engine, displacement: bool, at_once: int
) -> None:
    path, done = recorded(tmp_path / "r.h5", bundle, engine, displacement=displacement), list[int]()
    opened = open_engine(bundle, engine="onnxruntime", threads=2, at_once=at_once)
    with Record(path) as record, closing(opened) as again:
        report = rerun(record, again, observe=done.append)
    assert done == [1, 2, 3, 4]
    assert (report.compared, report.identical, report.without_frames) == (4, 4, 0)
    assert (report.first, report.largest) == (None, 0.0)
    assert report.engines == {(engine.name, engine.name)}
    assert str(report) == "4 of 4 images identical, bit for bit"


@pytest.mark.parametrize("array", ["strain", "quality", "displacement"])
def test_one_bit_is_found(tmp_path: Path, bundle: Bundle, engine: Engine, array: str) -> None:
    path = recorded(tmp_path / "r.h5", bundle, engine, displacement=True)
    spoil(path, array, 2)
    opened = open_engine(bundle, engine="onnxruntime", threads=2, at_once=2)
    with Record(path) as record, closing(opened) as again:
        report = rerun(record, again)
    assert (report.compared, report.identical) == (4, 3)
    assert report.first is not None
    assert (report.first.image, report.first.reference, report.first.current) == (2, 0, 3)
    assert report.first.array == array
    assert 0 < report.largest < 1e-3
    assert f"first, image 2 (frames 0, 3): {array} differs, by up to" in str(report)


def test_the_hash_tells_a_displacement_that_is_not_kept(
    tmp_path: Path, bundle: Bundle, engine: Engine
) -> None:
    path = recorded(tmp_path / "r.h5", bundle, engine, displacement=False)
    with h5py.File(path, "r+") as file:
        frame = file["rf"][4]
        frame[3, 2] += 1  # of the tiny bundle's outputs only the displacement depends on the frames
        file["rf"][4] = frame
    with Record(path) as record:
        report = rerun(record, engine)
    assert (report.compared, report.identical) == (4, 3)
    assert "first, image 3 (frames 2, 4): displacement differs, its hash differs" in str(report)


def test_images_whose_frames_are_missing_are_counted(tmp_path: Path, bundle: Bundle, engine: Engine) -> None:
    path = recorded(tmp_path / "r.h5", bundle, engine, displacement=False, lost=0)
    with Record(path) as record:
        report = rerun(record, engine)
        assert (report.compared, report.identical, report.without_frames) == (2, 2, 2)
        assert str(report) == "2 of 2 images identical, bit for bit; 2 whose frames are not on record"
        with pytest.raises(KeyboardInterrupt):
            rerun(record, engine, stopped=lambda: True)


def test_frames_that_the_engine_refuses_are_named(tmp_path: Path, bundle: Bundle, engine: Engine) -> None:
    path = recorded(tmp_path / "r.h5", bundle, engine, displacement=False)
    with h5py.File(path, "r+") as file:
        file["rf"][1] = np.zeros(file["rf"].shape[1:], np.int16)
    with Record(path) as record, pytest.raises(RecordingError, match=r"r.h5: image 0: .*frame"):
        rerun(record, engine)


def test_the_command_says_it_and_ends_with_a_code(tmp_path: Path, bundle: Bundle, engine: Engine) -> None:
    path = recorded(tmp_path / "r.h5", bundle, engine, displacement=False)
    done = usert("rerun", path, "--bundle", bundle.folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: 4 of 4 images identical, bit for bit\n"
    done = usert("rerun", path, "--bundle", bundle.folder, "--at-once", "9")
    assert (done.returncode, done.stderr) == (1, "usert: --at-once: got 9, expected 1 to 8\n")
    spoil(path, "strain", 1)
    done = usert("rerun", path, "--bundle", bundle.folder)
    assert done.returncode == 1
    assert "3 of 4 images identical, bit for bit; first, image 1 (frames 1, 2): strain differs" in done.stdout
    with Recorder(tmp_path / "none.h5", Provenance.of(bundle, engine="onnxruntime")) as recorder:
        recorder.put_frame(through_the_wire(0))
    done = usert("rerun", tmp_path / "none.h5", "--bundle", bundle.folder)
    assert (done.returncode, done.stdout) == (1, f"{tmp_path / 'none.h5'}: no image to compare\n")
    other = tiny_bundle(tmp_path / "other", shapes=(None, (24, 8)))
    done = usert("rerun", path, "--bundle", other.folder)
    assert f"made with bundle {bundle.sha256[:12]}, run again with {other.sha256[:12]}" in done.stderr
