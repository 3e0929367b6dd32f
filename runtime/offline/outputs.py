"""Output files of a result: a folder of PNGs, an MP4, or a DICOM object.

Importing this module loads neither PyAV nor pydicom. Invariant: an output is complete under its name or absent, and is
made from the recording and the result alone, without an engine.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from usert.errors import OptionError, expect, require
from usert.recording import Recording

from .pages import Pages
from .result_file import ResultReader

SUFFIXES = {"png": "-png", "mp4": ".mp4", "dicom": ".dcm"}
"""Kinds of output by their names on the command line, with the endings that replace `.h5`."""
_LIBRARIES = {"mp4": ("av", "video"), "dicom": ("pydicom", "dicom")}
"""Modules that kinds need, and the extras that bring them."""
PICTURE = re.compile(r"\d{5,}_\d+-\d+\.png")
"""Names of the pictures in a folder."""


def output_path(result: str | os.PathLike[str], kind: str) -> Path:
    """The path of an output, beside the result. Errors: `OptionError` for an unknown kind."""
    path = Path(result)
    expect(kind in SUFFIXES, "--also", f"{kind!r}", f"one of {', '.join(SUFFIXES)}")
    return path.with_name(path.stem + SUFFIXES[kind])


def make_output(
    kind: str,
    *,
    recording: str | os.PathLike[str],
    result: str | os.PathLike[str],
    dicom_like: str | os.PathLike[str] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Path:
    """Make one kind of output, replacing an older one; raises `KeyboardInterrupt` once `stopped()` is true.

    `dicom_like` is a DICOM file of the same study, whose identification the DICOM object takes over. Errors:
    `OptionError` for an unknown kind or a path that cannot be written, `MissingExtraError`, `RecordingError`.
    """
    path = output_path(result, kind)
    if dicom_like is not None and path.resolve() == Path(dicom_like).resolve():
        raise OptionError(f"--dicom-like: got {path}, which would be replaced; name the result otherwise")
    with Recording(recording) as source, ResultReader(result) as stored:
        pages = Pages(source, stored, stopped=stopped)
        with beside(path) as part:
            if kind == "dicom":
                from .dicom import write_dicom

                write_dicom(part, pages, like=dicom_like)
            elif kind == "mp4":
                from .video import write_video

                write_video(part, pages)
            else:
                part.mkdir()
                for index, page in enumerate(pages):
                    page.save(part / f"{pages.name(index)}.png", format="PNG")
    return path


def require_kinds(kinds: Collection[str], *, dicom_like: str | os.PathLike[str] | None) -> None:
    """Check, before hours of work, that each kind can be made. Errors: as `make_output`, if they can be foreseen."""
    for kind in kinds:
        output_path("result.h5", kind)
        if kind in _LIBRARIES:
            require(*_LIBRARIES[kind])
    if dicom_like is not None:
        if "dicom" not in kinds:
            raise OptionError(f"--dicom-like: got {os.fspath(dicom_like)} without --also dicom: add it")
        from .dicom_identity import identification

        identification(dicom_like)


def is_current(result: str | os.PathLike[str], kind: str) -> bool:
    """Whether an output of this kind exists and is not older than the result."""
    path = output_path(result, kind)
    return path.exists() and path.stat().st_mtime_ns >= Path(result).stat().st_mtime_ns


def remove_parts(result: str | os.PathLike[str]) -> None:
    """Remove what a killed process left half-written beside a result. Errors: `OptionError`."""
    for path in (Path(result), *(output_path(result, kind) for kind in SUFFIXES)):
        _remove(_part(path))


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which replaces `path` at the end of the block. Errors: `OptionError`."""
    if path.is_dir() and any(PICTURE.fullmatch(entry.name) is None for entry in path.iterdir()):
        raise OptionError(
            f"{path}: holds more than pictures of a result, so it is not replaced: move it away"
        )
    part = _part(path)
    _remove(part)
    try:
        yield part
        if part.is_dir():
            _remove(path)
        part.replace(path)
    except OSError as error:
        # pydicom adds its stack in further lines
        reason = error.strerror or next(iter(str(error).splitlines()), type(error).__name__)
        raise OptionError(f"cannot write {path}: {reason}") from error
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OptionError(f"cannot remove {path}: {error.strerror}") from error
