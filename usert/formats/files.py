"""Which files an import reads, and in which order.

Knows names, not contents. Numbers in names count as numbers: frame 2 comes before frame 10. A shell that expands
`*.mha` sorts them as text, so files given in the order of a shell are put in the order of their numbers; any other
order is taken for the order of the frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import FormatError
from ..recording.layout import one_line

_MANY, _TINY = 10_000, 1000


def list_files(paths: Sequence[Path], endings: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """The files of `paths`, folders replaced by their files with these endings, and what a person should know.

    Raises `FormatError` for a folder without such files.
    """
    files: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        there = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        found = sorted((file for file in there if file.name.lower().endswith(endings)), key=_natural)
        found = [file for file in found if not _unpacked_beside(file, found)]
        if not found:
            raise FormatError(
                f"{path}: {len(there)} files, expected at least one whose name ends in {' or '.join(endings)}"
            )
        notes.append(f"{path}: {len(found)} of {len(there)} files, {found[0].name} to {found[-1].name}")
        files += found
    by_number = sorted(files, key=_natural)
    if files == list(paths) and files != by_number:
        if files in (sorted(files), sorted(files, key=_collated)):
            notes.append(f"files are taken in the order of their numbers, {_first(by_number)}, not as text")
            return by_number, notes
        notes.append(
            f"files are taken in the order given, {_first(files)}; by their names it would be {_first(by_number)}"
        )
    return files, notes


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """A block in which what the system refuses is a `FormatError`."""
    try:
        yield
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({one_line(error)})") from error


def file_beside(path: Path, name: str, what: str) -> Path:
    """The file that the header in `path` names, `what` for messages. Errors: `FormatError` where it is not there."""
    beside = path.parent / name
    with readable(path):  # a name may be too long for the system
        if beside.is_file():
            return beside
    raise FormatError(f"{path}: its {what} {beside} is missing, expected it beside the header")


def check_count(path: Path, frames: int, samples: int) -> None:
    """Check that there are not a great many tiny frames, which would take hours to read. Errors: `FormatError`."""
    if frames > _MANY and samples < _TINY:
        raise FormatError(
            f"{path}: more than {_MANY} frames of {samples} samples, expected larger ones: are its axes in another"
            " order, or its header damaged?"
        )


def _unpacked_beside(file: Path, files: Sequence[Path]) -> bool:
    """`lzop -d` leaves what it unpacked where it is."""
    return file.suffix.lower() == ".lzo" and file.with_suffix("") in files


def _natural(path: Path) -> list[str | int]:
    parts = re.split(r"([0-9]+)", str(path))  # every second one is a number
    return [int(part) if k % 2 else part.casefold() for k, part in enumerate(parts)]


def _collated(path: Path) -> str:
    """As shells sort in most languages: without regard to case and signs."""
    return re.sub(r"[^0-9a-z]", "", str(path).lower())


def _first(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files[:4]) + (", …" if len(files) > 4 else "")
