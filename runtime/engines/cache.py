"""The cache of compiled engines: `$XDG_CACHE_HOME/usert/engines`, else `~/.cache/usert/engines`.

The folder may be deleted whenever no engine is being opened. What was compiled of a graph for single sizes of frames is
evicted, the longest unused first, when there are more than `MOST_SIZES`; nothing else is. Invariant: what was compiled
for one graph, weights, device and library is not used for another, and, where files can be locked, what one process
compiles no other touches.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from usert.bundle import Bundle
from usert.bundle.manifest import Graph
from usert.errors import EngineError

if sys.platform != "win32":  # where two processes that open one engine at once may both compile it
    import fcntl

LEAST_FREE_BYTES = 200_000_000
"""Free space that is needed: a compiled engine takes 20 to 60 MB, and a library may write it twice."""
MOST_SIZES = 12
"""Sizes of frames for which a graph is kept compiled, some 25 MB each."""
_SEAL = "usert.sha256"
PATIENCE_S = 30.0
"""Wait for another process that compiles the same graph; a stopped one must not hold up the rest for ever."""
_log = logging.getLogger(__name__)


def cache_folder(bundle: Bundle, graph: Graph, *, device: str, library: str, sizes: str = "") -> Path:
    """The folder for what `library` (name and version) compiles of `graph` for `device`; it is writable.

    `sizes`: those of the inputs, where it is compiled for these alone. Errors: `EngineError` where it cannot be
    written, or where there is too little space for an engine.
    """
    parts = (bundle.manifest.weights.sha256, graph.sha256, device, library)
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    name = f"{Path(graph.file).stem}-{key}"
    folder = _root() / (f"{name}-{sizes}" if sizes else name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if sizes:
            os.utime(folder)
            _evict(list(folder.parent.glob(f"{name}-*/")))
        free = shutil.disk_usage(folder.parent).free
        with NamedTemporaryFile(dir=folder.parent) as probe:
            probe.write(b"usert")
    except OSError as error:
        raise _unwritable(folder, error) from error
    if free < LEAST_FREE_BYTES:
        raise EngineError(
            f"engine cache {folder}: got {free / 1e6:.0f} MB of free space, expected "
            f"{LEAST_FREE_BYTES / 1e6:.0f} MB; free some, or set XDG_CACHE_HOME to a folder on another disk"
        )
    return folder


@contextmanager
def intact(folder: Path) -> Iterator[None]:
    """Guarantee that `folder` is unchanged since its last use, by hash, or else empty.

    For libraries that do not check their cache. After an error in the block the content is not used again. Others that
    come for the same folder, threads or processes, wait: a server and its spare compile a graph once. Errors:
    `EngineError` where the folder is held by another for longer than `PATIENCE_S`, or cannot be written.
    """
    seal = folder / _SEAL
    with _alone(folder):
        whole = seal.exists() and seal.read_bytes() == _digest(folder)
        if not whole:  # emptied, not removed: another may just have asked for it
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        before = _files(folder)
        try:
            yield
        except BaseException:
            seal.unlink(missing_ok=True)
            raise
        if not whole or _files(folder) != before:
            seal.write_bytes(_digest(folder))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    try:
        lock = _lock_of(folder).open("wb")
    except OSError as error:
        raise _unwritable(folder, error) from error
    with lock:
        begin, told = time.monotonic(), False
        while not _locked(lock):
            waited = time.monotonic() - begin
            if waited > PATIENCE_S:
                raise EngineError(
                    f"engine cache {folder}: locked by another process for {waited:.0f} s, expected less; "
                    "end that process, if it is stopped"
                )
            if not told and waited > 2:
                _log.warning("engine cache %s: another process compiles this graph; waiting for it", folder)
                told = True
            time.sleep(0.05)  # and not within the call, which no signal would end
        yield


def _evict(folders: list[Path]) -> None:
    """Remove the folders that were unused the longest, but for those that a process holds."""
    for folder in sorted(folders, key=lambda one: one.stat().st_mtime)[:-MOST_SIZES]:
        with _lock_of(folder).open("wb") as lock:
            if sys.platform == "win32" or _locked(lock):
                shutil.rmtree(folder, ignore_errors=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _unwritable(folder: Path, error: OSError) -> EngineError:
    return EngineError(
        f"engine cache {folder}: cannot write: {error.strerror}; "
        "free some space, or set XDG_CACHE_HOME to a folder that can be written"
    )


def _locked(file: IO[bytes]) -> bool:
    """Whether `file` is now locked by this process, or on a file system without locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _root() -> Path:
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise EngineError(
            "engine cache: got no home folder, expected one; set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return base / "usert" / "engines"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _SEAL)


def _digest(folder: Path) -> bytes:
    digest = hashlib.sha256()
    for path in _files(folder):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest().encode()
