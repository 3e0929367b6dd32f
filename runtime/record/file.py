"""One file of a record while it is written: the frames of one session, its images, and what is missing.

Invariant: a row is written after the arrays that it counts, so the file of a killed process is consistent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np

from usert.recording import RecordingWriter

from ..imaging.estimate import Estimate, EstimatedPair
from ..imaging.frames import ReceivedFrame
from ..imaging.image_quality import ImageQuality
from ..protocol.age import clock_id
from ..protocol.strain_message import StrainMessage
from .contents import FRAME, GAP, GROUP, IMAGE, IMAGE_COLUMNS, furnish, hash_of
from .gaps import Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedImage:
    """The estimate of a pair, and the message that was sent after it."""

    reference: int
    current: int
    """Sequence numbers of the pair."""
    received_ns: int
    matched_ns: int
    started_ns: int
    """Times of the pair, as in the message."""
    quality: ImageQuality
    """Figures of the estimate."""
    estimate: Estimate
    engine: str
    """Name of the engine that really ran."""
    message: StrainMessage
    """It may show another image, as while it is held, or one averaged over time."""

    @classmethod
    def of(cls, new: EstimatedPair, message: StrainMessage, *, quality: ImageQuality) -> RecordedImage:
        """The pair `new` without its frames, `quality` of its image, and the message that was sent after it."""
        return cls(
            reference=new.reference.frame.sequence,
            current=new.current.frame.sequence,
            received_ns=new.current.received_ns,
            matched_ns=new.matched_ns,
            started_ns=new.started_ns,
            quality=quality,
            estimate=new.estimate,
            engine=new.engine,
            message=message,
        )

    @property
    def engine_ascii(self) -> bytes:
        """`engine` as HDF5 keeps it, with other characters replaced."""
        return self.engine.encode("ascii", "replace")

    @property
    def displacement_sha256(self) -> str:
        """Hash of the displacement."""
        return hash_of(self.estimate.displacement)


_ROW = attrgetter(*(attribute for _, _, attribute in IMAGE_COLUMNS))


class RecordFile:
    """An open file of a record, created for the first frame of a session; every `put` returns when its row is on file.

    Errors: `RecordingError` where there is a file of that name or the disk refuses, after which only `close` is left.
    """

    def __init__(
        self, path: Path, first: ReceivedFrame, provenance: Mapping[str, str], *, displacement: bool
    ) -> None:
        """`first`: the first frame, which gives shape and geometry. `provenance`: further attributes of the record."""
        self.path = path
        self.stream = first.stream
        self._displacement = displacement
        self._frames = self._images = self._gaps = 0
        attributes: dict[str, str | int] = {
            **provenance,
            "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "stream": first.stream,
            "source_clock": first.clock,
            "server_clock": clock_id(),
            "session": first.session,
        }
        self._writer = RecordingWriter(
            path,
            furnish=partial(
                furnish, shape=first.frame.shape, attributes=attributes, displacement=displacement
            ),
        )

    @property
    def empty(self) -> bool:
        """Whether no frame is on file yet."""
        return self._frames == 0

    def put_frame(self, received: ReceivedFrame) -> None:
        """Append a frame."""
        """Append a frame."""
        frame = received.frame
        self._writer.append(frame)
        row = np.array((frame.sequence, frame.time_ns, received.received_ns), FRAME)
        self._writer.put(f"{GROUP}/frames", self._frames, row)
        self._frames += 1

    def put_image(self, image: RecordedImage) -> None:
        """Append an image; the file must hold a frame already."""
        k, estimate = self._images, image.estimate
        self._writer.put(f"{GROUP}/strain", k, estimate.strain)
        self._writer.put(f"{GROUP}/quality", k, estimate.quality)
        if self._displacement:
            self._writer.put(f"{GROUP}/displacement", k, estimate.displacement)
        self._writer.put(f"{GROUP}/images", k, np.array(_ROW(image), IMAGE))
        self._images += 1

    def put_gap(self, gap: Gap) -> None:
        """Append a gap; the file must hold a frame already."""
        row = tuple(getattr(gap, name) for name in GAP.names or ())
        self._writer.put(f"{GROUP}/gaps", self._gaps, np.array(row, GAP))
        self._gaps += 1

    def close(self) -> None:
        """Close the file, and delete it if it has no frame; idempotent."""
        try:
            self._writer.close()
        finally:
            if self.empty:
                self.path.unlink(missing_ok=True)
