"""What recording costs: how fast the disk takes frames and images, and what one costs the thread that hands it over.

    python benchmarks/recorder.py [--folder DIR] [--seconds S]

`write`: frames, and an image to each, as fast as they go; to the page cache, and until `fsync` has returned. `live`: 60
frames and 30 images a second for S seconds, recorded and not: the time that `put_frame` and `put_image` took, and how
late a thread came that wakes up each millisecond. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from usert.errors import UsertError
from usert.evaluation.markdown import markdown
from usert.frame import RFFrame, Scan
from usert.machine import cpu_name
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.frames import FrameStamp, ReceivedFrame
from usert.runtime.imaging.image_quality import ImageQualityRule, assess
from usert.runtime.protocol.strain_message import Counters, StrainMessage
from usert.runtime.record.contents import Provenance, Record
from usert.runtime.record.file import RecordedImage
from usert.runtime.record.recorder import Recorder

SHAPES = (512, 128), (1920, 768)
RATE_HZ = 60.0
WRITTEN_BYTES = 1 << 30
SCAN = Scan(fs_hz=40e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.2)
PROVENANCE = Provenance(bundle="none", bundle_sha256="", weights_sha256="", configuration={})


class Stream:
    """Frames of one shape, a few different ones, and an image to each."""

    def __init__(self, shape: tuple[int, int]) -> None:
        noise = np.random.default_rng(0)
        self.samples = [noise.integers(-1000, 1000, shape).astype(np.int16) for _ in range(8)]
        values = noise.standard_normal((4, *shape)).astype(np.float32)
        self.estimate = Estimate(displacement=values[:2], strain=values[2], quality=values[3])
        self.quality = assess(self.estimate, ImageQualityRule())
        self.frame_bytes = self.samples[0].nbytes

    def frame(self, k: int) -> ReceivedFrame:
        frame = RFFrame(samples=self.samples[k % 8], scan=SCAN, sequence=k, time_ns=k, acquired_ns=k)
        return ReceivedFrame(frame=frame, stream="b", clock="", received_ns=k, session=1)

    def image(self, k: int) -> RecordedImage:
        stamp, made = FrameStamp(sequence=k, time_ns=k, acquired_ns=k), self.estimate
        message = StrainMessage(
            stream="b",
            session=1,
            reference=stamp,
            current=stamp,
            source_clock="",
            server_clock="",
            received_ns=k,
            matched_ns=k,
            started_ns=k,
            published_ns=k,
            state="live",
            scan=SCAN,
            counters=Counters(received=k, dropped=0, malformed=0, published=k),
            weights_hash="",
            mean_strain=0.0,
            mean_quality=0.0,
            displacement=made.displacement,
            strain=made.strain,
            quality=made.quality,
        )
        return RecordedImage(
            reference=k,
            current=k,
            received_ns=k,
            matched_ns=k,
            started_ns=k,
            quality=self.quality,
            estimate=made,
            engine="none",
            message=message,
        )


def write(path: Path, stream: Stream, *, images: bool, displacement: bool) -> dict[str, Any]:
    """As fast as it goes, with the queue never full."""
    arrays = 4 if displacement else 2
    size = stream.frame_bytes * (1 + 2 * arrays * images)
    count = max(WRITTEN_BYTES // size, 8)
    with Recorder(path, PROVENANCE, displacement=displacement) as recorder:
        recorder.put_frame(stream.frame(0))
        while recorder.stats.frames.waiting:
            time.sleep(5e-3)
        start = time.perf_counter()
        for k in range(1, count + 1):
            while recorder.held_bytes > 1 << 26:
                time.sleep(5e-3)
            recorder.put_frame(stream.frame(k))
            if images:
                recorder.put_image(stream.image(k))
        while recorder.stats.frames.waiting or recorder.stats.images.waiting:
            time.sleep(5e-3)
        cached = time.perf_counter() - start
        with path.open("rb") as file:
            os.fsync(file.fileno())
        synced = time.perf_counter() - start
        assert not recorder.stats.frames.missing
        assert not recorder.stats.images.missing
    check(path, stream, count + 1)
    what = "frames" + (", strain, quality" if images else "") + (", displacement" if displacement else "")
    return {
        "written": what,
        "GB": count * size / 1e9,
        "MB/s, cached": count * size / cached / 1e6,
        "frames/s": count / cached,
        "MB/s, on disk": count * size / synced / 1e6,
    }


def live(path: Path, stream: Stream, seconds: float, *, record: bool) -> dict[str, Any]:
    """At the rate of a scanner: what the live threads pay."""
    count = round(seconds * RATE_HZ)
    late: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            start = time.perf_counter()
            time.sleep(1e-3)
            late.append(time.perf_counter() - start - 1e-3)

    spent: dict[str, list[float]] = {"put_frame": [], "put_image": []}

    def timed(name: str, call: Callable[[], None]) -> None:
        start = time.perf_counter()
        call()
        spent[name].append(time.perf_counter() - start)

    ticker = threading.Thread(target=tick)
    ticker.start()
    with Recorder(path, PROVENANCE) as recorder:
        begin = time.perf_counter()
        for k in range(count):
            time.sleep(max(begin + k / RATE_HZ - time.perf_counter(), 0))
            frame, image = stream.frame(k), stream.image(k)
            if not record:
                continue
            timed("put_frame", lambda f=frame: recorder.put_frame(f))  # type: ignore[misc]
            if k % 2:
                timed("put_image", lambda i=image: recorder.put_image(i))  # type: ignore[misc]
    done.set()
    ticker.join()
    stats = recorder.stats
    assert stats.frames.waiting == stats.images.waiting == 0
    row: dict[str, Any] = {"recorded (MB/s)": RATE_HZ * stream.frame_bytes * 3 / 1e6 if record else 0.0}
    row |= {f"late p{q} (ms)": 1e3 * float(np.percentile(late, q)) for q in (50, 99, 100)}
    if not record:
        return row
    row |= {"frames missing": sum(stats.frames.missing.values())}
    row |= {"images missing": sum(stats.images.missing.values())}
    for name, times in spent.items():
        row |= {f"{name} p{q} (µs)": 1e6 * float(np.percentile(times, q)) for q in (50, 99, 100)}
    return row


def check(path: Path, stream: Stream, count: int) -> None:
    """What was written is what is there."""
    with Record(path) as record:
        assert len(record.frames) == count
        for k in (0, count - 1):
            assert np.array_equal(record.recording.frame(k).samples, stream.samples[k % 8])
        if len(record.images):
            assert np.array_equal(record.array("strain", len(record.images) - 1), stream.estimate.strain)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary one if not given")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the live part")
    options = parser.parse_args()
    written: list[dict[str, Any]] = []
    handed: list[dict[str, Any]] = []
    try:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "r.h5"
            for shape in SHAPES:
                stream, name = Stream(shape), {"shape": f"{shape[0]}x{shape[1]}"}
                for images, displacement in ((False, False), (True, False), (True, True)):
                    written.append(name | write(path, stream, images=images, displacement=displacement))
                    path.unlink()
                handed += [
                    name | live(path, stream, options.seconds, record=record) for record in (False, True)
                ]
                path.unlink()
    except UsertError as error:
        sys.exit(f"recorder: {error}")
    print(markdown(written), markdown(handed), sep="\n\n")
    print(json.dumps({"benchmark": "recorder", "machine": cpu_name(), "write": written, "live": handed}))


if __name__ == "__main__":
    main()
