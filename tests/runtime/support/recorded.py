"""Frames and images for a record, for tests, and what a record then holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from live import SCAN, SHAPE, numbered_message, received_frame, wait_until

from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.frames import FrameStamp, ReceivedFrame
from usert.runtime.imaging.image_quality import ImageQualityRule, assess
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.strain_message import Counters, StrainMessage
from usert.runtime.record.contents import Provenance, Record
from usert.runtime.record.file import RecordedImage
from usert.runtime.record.recorder import Recorder

FRAME_BYTES = 2 * SHAPE[0] * SHAPE[1]
IMAGE_BYTES = 4 * 4 * SHAPE[0] * SHAPE[1]
PROVENANCE = Provenance(bundle="b", bundle_sha256="1", weights_sha256="2", configuration={"threads": 1})


def received(sequence: int, session: int = 1, **changes: Any) -> ReceivedFrame:
    message = numbered_message(sequence, clock="c1", **({"time_ns": 10 * sequence} | changes))
    return received_frame(message, received_ns=10 * sequence + 1, session=session)


def made(reference: int, current: int, session: int = 1, shape: tuple[int, int] = SHAPE) -> RecordedImage:
    """An image that depends on its sequence numbers alone."""
    noise = np.random.default_rng((reference, current)).standard_normal((4, *shape)).astype(np.float32)
    noise[2, 0, :3] = np.nan, -0.0, 1e-42
    estimate = Estimate(displacement=noise[:2], strain=noise[2], quality=noise[3])
    shown = FrameStamp(sequence=current - 1, time_ns=0, acquired_ns=0)
    message = StrainMessage(
        stream="test",
        session=session,
        reference=shown,
        current=shown,
        source_clock="c1",
        server_clock=clock_id(),
        received_ns=0,
        matched_ns=0,
        started_ns=0,
        published_ns=10 * current + 4,
        state="held",
        reason="quality",
        scan=SCAN,
        counters=Counters(received=5, dropped=1, malformed=2, published=current),
        weights_hash="2",
        mean_strain=0.0,
        mean_quality=0.0,
        displacement=estimate.displacement,
        strain=estimate.strain,
        quality=estimate.quality,
    )
    return RecordedImage(
        reference=reference,
        current=current,
        received_ns=10 * current + 1,
        matched_ns=10 * current + 2,
        started_ns=10 * current + 3,
        quality=replace(assess(estimate, ImageQualityRule()), mean_strain=0.1, mean_quality=0.7, score=0.6),
        estimate=estimate,
        engine="tiny engine",
        message=message,
    )


def settle(recorder: Recorder) -> None:
    wait_until(lambda: recorder.stats.frames.waiting == recorder.stats.images.waiting == 0)


def sequences(path: Path) -> list[int]:
    with Record(path) as record:
        return [int(sequence) for sequence in record.frames["sequence"]]


def count_images(path: Path) -> int:
    with Record(path) as record:
        return len(record.images)


def gap_rows(path: Path) -> list[tuple[str, int, str, int, int, int]]:
    with Record(path) as record:
        return [
            (
                row["what"].decode(),
                row["session"],
                row["reason"].decode(),
                row["first"],
                row["last"],
                row["count"],
            )
            for row in record.gaps
        ]


def missing_frames(paths: Iterable[Path]) -> list[int]:
    rows = [row for path in paths for row in gap_rows(path) if row[0] == "frame"]
    assert all(count == last - first + 1 for *_, first, last, count in rows)
    return [k for *_, first, last, _ in rows for k in range(first, last + 1)]
