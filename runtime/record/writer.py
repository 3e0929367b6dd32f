"""The files of a record: which file an item goes to, and what happens when the disk fails.

Each session gets a file, NAME.h5, NAME-2.h5, …, since all frames of a file have one geometry. While the disk is nearly
full nothing is written; after a failed write the file is closed, and a new one tried later. Invariant: `put` does not
raise; it returns why an item was not written.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from usert.errors import RecordingError

from ..imaging.frames import ReceivedFrame
from ..protocol.age import now_ns
from .contents import Provenance
from .file import RecordedImage, RecordFile
from .gaps import Gap, Gaps, Reason, What

MAX_FILES = 1000
"""A source whose every frame begins a session must not fill the disk with files."""
RETRY_NS = 5_000_000_000
"""Time from a failed write to the next file."""
Miss = tuple[Reason, str]
"""Why an item is not on file: the reason that is counted, and details."""
_OPEN_FILES = 2  # of one source: the last image of a session comes after the first frame of the next

log = logging.getLogger(__name__)

Item = ReceivedFrame | RecordedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The identity of an item in counts and logs."""

    what: What
    session: int
    sequence: int
    size: int
    """Size in bytes."""

    @classmethod
    def of(cls, item: Item) -> Label:
        """The label of a frame or image."""
        if isinstance(item, ReceivedFrame):
            frame = item.frame
            return cls(what="frame", session=item.session, sequence=frame.sequence, size=frame.samples.nbytes)
        estimate = item.estimate
        size = estimate.strain.nbytes + estimate.quality.nbytes + estimate.displacement.nbytes
        return cls(what="image", session=item.message.session, sequence=item.current, size=size)


class RecordWriter:
    """Writes items to files, in the order in which they come."""

    def __init__(
        self, path: Path, provenance: Provenance, gaps: Gaps, *, displacement: bool, reserve_bytes: int
    ) -> None:
        """`path`: the first file. `gaps`: written before each item. `reserve_bytes`: disk space to leave free."""
        self._path = path
        self._attributes = provenance.attributes()
        self._gaps = gaps
        self._displacement = displacement
        self._reserve_bytes = reserve_bytes
        self._files: dict[int, RecordFile] = {}
        """Open files by session, the oldest first."""
        self._unwritten: list[Gap] = []
        self._part = 1
        self._retry_at_ns = 0
        self.made: list[Path] = []
        """All files with at least one frame."""

    def put(self, item: Item, label: Label) -> Miss | None:
        """Write one item; returns None, or why it was not written."""
        try:
            if shutil.disk_usage(self._path.parent).free < self._reserve_bytes + label.size:
                return "disk full", f"expected {self._reserve_bytes / 1e6:.0f} MB to stay free"
            if label.session not in self._files:
                if not isinstance(item, ReceivedFrame):
                    return "no file", "none of the frames of its session is on file"
                if now_ns() < self._retry_at_ns:
                    return "write failed", "the disk has just failed"
                if len(self.made) >= MAX_FILES:
                    return "too many files", f"got more than {MAX_FILES} sessions"
                self._begin(item)
            self._write(self._files[label.session], item)
        except (RecordingError, OSError) as error:
            self._retry_at_ns = now_ns() + RETRY_NS
            self._end(label.session)
            return "write failed", str(error)
        except Exception as error:  # no item may end the thread
            return "unfit", str(error)
        return None

    def put_gaps(self, *, quiet_ns: int = 0) -> None:
        """Write the gaps of `Gaps.take` if a file is open; those that cannot be written go to the next one."""
        begun = [session for session, file in self._files.items() if not file.empty]
        if not begun:
            return
        try:
            self._write_gaps(self._files[begun[-1]], quiet_ns=quiet_ns)
        except (RecordingError, OSError):  # counted they are
            self._retry_at_ns = now_ns() + RETRY_NS
            self._end(begun[-1])

    def close(self) -> None:
        """Write the last gaps and close all files."""
        self.put_gaps()
        for session in list(self._files):
            self._end(session)

    def _begin(self, first: ReceivedFrame) -> None:
        while (path := part_path(self._path, self._part)).exists():
            self._part += 1
        self._files[first.session] = RecordFile(
            path, first, self._attributes, displacement=self._displacement
        )
        of_source = [s for s, file in self._files.items() if file.stream == first.stream]
        for session in of_source[:-_OPEN_FILES]:
            self._end(session)

    def _end(self, session: int) -> None:
        file = self._files.pop(session, None)
        if file is not None:
            with suppress(OSError, RuntimeError):
                file.close()

    def _write(self, file: RecordFile, item: Item) -> None:
        if isinstance(item, RecordedImage):
            self._write_gaps(file)
            file.put_image(item)
        elif file.empty:
            file.put_frame(item)
            self.made.append(file.path)
            log.info("record: session %d goes to %s", item.session, file.path)
        else:
            self._write_gaps(file)
            file.put_frame(item)

    def _write_gaps(self, file: RecordFile, *, quiet_ns: int = 0) -> None:
        self._unwritten += self._gaps.take(quiet_ns=quiet_ns)
        while self._unwritten:
            file.put_gap(self._unwritten[0])
            del self._unwritten[0]


def part_path(path: Path, part: int) -> Path:
    """The path of a part: `path` for part 1, NAME-2.h5 for part 2, and so on."""
    return path if part == 1 else path.with_name(f"{path.stem}-{part}{path.suffix}")


def check_free(path: Path) -> None:
    """Check that a record can be created at `path`. Errors: `RecordingError`."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise RecordingError(f"record {path}: there is no folder {folder}: make it first")
    parts = re.compile(re.escape(path.stem) + r"(-[0-9]+)?" + re.escape(path.suffix))
    taken = sorted(name.name for name in folder.iterdir() if parts.fullmatch(name.name))
    if taken:
        raise RecordingError(
            f"record {path}: {taken[0]} is there already, expected a new name: name another,"
            f" or a folder, where each run takes a name of its own"
        )
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise RecordingError(
            f"record {path}: {folder} cannot be written to ({error.strerror}): name another"
        ) from error
