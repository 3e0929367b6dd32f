"""Records the live server's frames and images, in a thread of its own.

The live threads queue items and go on: what cannot be written, because the disk is slow, full or broken, is dropped and
counted, also in the record. An image can be reproduced from its frames, a frame cannot: so images may fill half of the
queue, frames all of it.

Invariant: `put_frame` and `put_image` neither wait for the disk nor raise; received = recorded + missing + waiting.
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..imaging.frames import ReceivedFrame
from ..protocol.age import now_ns
from ..transport.fault_counter import FaultCounter, by_kind
from ..transport.lifecycle import POLL_MS, Worker
from .backlog import Backlog
from .contents import Provenance
from .file import RecordedImage
from .gaps import Gaps, Reason, What
from .writer import Item, Label, Miss, RecordWriter, check_free

MAX_BYTES = 1 << 28
"""Size of the queue: 1.5 s of 60 frames a second of 1920 x 768."""
RESERVE_BYTES = 1 << 28
"""Space on the disk that is left free."""
_IMAGE_SHARE = 0.5
_CLOSE_NS = 10_000_000_000
_GRACE_S = 2.0
_QUIET_NS = 1_000_000_000  # after which a run of misses is over, though nothing else was written

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Counts of the frames or of the images."""

    received: int
    recorded: int
    missing: dict[str, int]
    """Items that were not recorded, by reason."""

    @property
    def waiting(self) -> int:
        """Items that wait in the queue."""
        return self.received - self.recorded - sum(self.missing.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderStats:
    """Counts since the recorder was opened."""

    frames: Kept
    images: Kept
    files: tuple[Path, ...]
    """The files so far, in the order of their sessions."""

    def __str__(self) -> str:
        frames, images = self.frames, self.images
        files = f"{self.files[0]}" if self.files else "no file"
        if len(self.files) > 1:
            files += f" and {len(self.files) - 1} more"
        return (
            f"{frames.recorded} frames and {images.recorded} images in {files}, "
            f"missing {by_kind(frames.missing)} frames, {by_kind(images.missing)} images"
        )


class Recorder(Worker):
    """Records frames and images: `with Recorder(...) as recorder:`, whose end writes the queue, for at most 10 s."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        provenance: Provenance,
        *,
        displacement: bool = False,
        max_bytes: int = MAX_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        """`path`: a file that does not exist, or a folder, in which each run gets a new name.

        `displacement`: record it in full, which doubles the size of an image; else only its hash.
        Errors, on opening: `RecordingError` for a path that exists or cannot be written to.
        """
        super().__init__("record")
        self.path = Path(path)
        """The first file; for a folder, known once the recorder is open."""
        self._provenance = provenance
        self._displacement = displacement
        self._reserve_bytes = reserve_bytes
        self._backlog: Backlog[tuple[Item, Label]] = Backlog(max_bytes)
        self._gaps = Gaps()
        self._tally = FaultCounter(log, "not recorded")
        self._received: dict[What, int] = {"frame": 0, "image": 0}
        self._recorded: dict[What, int] = {"frame": 0, "image": 0}
        self._deadline_ns = 0
        """When closing: the time at which the rest of the queue is dropped."""

    def _open(self, stack: ExitStack) -> None:
        if self.path.is_dir():
            self.path /= f"usert-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.h5"
        check_free(self.path)
        self._writer = RecordWriter(
            self.path,
            self._provenance,
            self._gaps,
            displacement=self._displacement,
            reserve_bytes=self._reserve_bytes,
        )
        self._start(stack)

    def put_frame(self, received: ReceivedFrame) -> None:
        """Queue a frame, before any image of it; keeps its samples without a copy. Call it from one thread."""
        self._put(received, 1.0)

    def put_image(self, image: RecordedImage) -> None:
        """Queue an image; keeps its arrays without a copy. Call it from one thread."""
        self._put(image, _IMAGE_SHARE)

    @property
    def stats(self) -> RecorderStats:
        """The counts now. Safe in any thread."""
        frames, images = (
            Kept(
                recorded=self._recorded[what], missing=self._gaps.counts(what), received=self._received[what]
            )
            for what in self._received
        )
        return RecorderStats(frames=frames, images=images, files=tuple(self._writer.made))

    @property
    def closing(self) -> bool:
        """Whether the recorder accepts no more items and writes its queue."""
        return self._deadline_ns != 0

    @property
    def held_bytes(self) -> int:
        """Bytes of the queued items and of the one being written."""
        return self._backlog.held

    def _put(self, item: Item, share: float) -> None:
        label = Label.of(item)
        self._received[label.what] += 1
        if self.closing:
            self._miss(label, "closed", "the recorder has closed")
        elif self._backlog.put((item, label), label.size, share=share):
            self._gaps.end(label.what, queued=True)
        else:
            self._miss(label, "queue full", "the disk is too slow")

    def _miss(self, label: Label, reason: Reason, detail: str) -> None:
        self._gaps.miss(label.what, label.session, label.sequence, reason)
        self._tally.add(f"{label.what}, {reason}", detail)

    def _work(self) -> None:
        while True:
            self._tally.log_repeated()
            taken = self._backlog.take(POLL_MS / 1e3)
            if taken is not None:
                self._keep(*taken)
            elif self.closing:
                break
            else:
                self._writer.put_gaps(quiet_ns=_QUIET_NS)
        self._writer.close()

    def _keep(self, item: Item, label: Label) -> None:
        if self.closing and now_ns() > self._deadline_ns:
            missed: Miss | None = ("closed", "the disk was too slow for what waited at the end")
        else:
            missed = self._writer.put(item, label)
        if missed is None:
            self._recorded[label.what] += 1
            self._gaps.end(label.what, queued=False)
        else:
            self._miss(label, *missed)

    def _end(self) -> None:
        self._deadline_ns = now_ns() + _CLOSE_NS
        self._thread.join(_CLOSE_NS / 1e9 + _GRACE_S)
        if self._thread.is_alive():
            log.warning("record: the disk does not respond; %s is complete up to this point", self.path)
