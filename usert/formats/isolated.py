"""Readers that rest on C libraries, called in a child process.

libhdf5 never returns from some damaged heaps of text, and scipy's reader of MATLAB 5 files crashes on some damaged
types; neither can be caught in the same process. The child has limits of computing time and of memory, by the size of
the file, and is kept for the files after it. It ends when its parent ends, at the latest when its time is up. It guards
against damage, not against malice: what it sends is unpickled.

Invariant: a damaged file costs one `UsertError`, and a child that crashed or was stopped is reaped before that is
raised.
"""

from __future__ import annotations

import atexit
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import FormatError, UsertError
from .declared import About
from .options import ImportOptions

_FEWEST_S, _BYTES_A_SECOND = 20.0, 5e6
_LEAST_BYTES, _BYTES_A_BYTE = 1 << 28, 16
_STATM = Path("/proc/self/statm")
_COMMAND = "import sys; from usert.formats.isolated import serve; serve(int(sys.argv[1]))"


def isolated_read(
    read: Callable[[Path, ImportOptions], Iterator[NDArray[Any]]],
) -> Callable[[Path, ImportOptions], Iterator[NDArray[Any]]]:
    """`read`, a function of a module, called in the child process; each array is fetched when it is asked for.

    The result raises `FormatError` where the child crashes or reaches a limit, and what `read` raises.
    """
    return lambda path, options: _items(read, path, options)


def isolated_about(about: Callable[[Path, ImportOptions], About]) -> Callable[[Path, ImportOptions], About]:
    """`about`, a function of a module, called in the child process. Errors: as `isolated_read`."""

    def called(path: Path, options: ImportOptions) -> About:
        (found,) = _items(about, path, options)
        assert isinstance(found, About)
        return found

    return called


class _Child:
    """A process that waits for calls. NEW → OPEN → CLOSED."""

    def __init__(self) -> None:
        ours, theirs = Pipe()
        paths = os.pathsep.join(sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", _COMMAND, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the parent
            )
        self._connection = ours

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, message: Any) -> tuple[str, Any]:
        """Send, and wait for the answer. Raises `EOFError` or `ConnectionError` where the child has ended."""
        self._connection.send(message)
        answer: tuple[str, Any] = self._connection.recv()
        return answer

    def end(self) -> int:
        """Kill it, unless it has ended; its exit code."""
        self._connection.close()
        self._process.kill()
        return self._process.wait()


_idle: list[_Child] = []


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


def _take() -> _Child:
    while _idle:
        child = _idle.pop()
        if child.alive:
            return child
        child.end()
    return _Child()


def _items(function: Callable[..., Any], path: Path, options: ImportOptions) -> Iterator[Any]:
    """What `function` yields in a child, or the one thing that it returns."""
    size = path.stat().st_size
    seconds = _FEWEST_S + size / _BYTES_A_SECOND
    memory = _LEAST_BYTES + _BYTES_A_BYTE * size
    child = _take()
    try:
        folder = None if path.is_absolute() else os.getcwd()  # it may have changed since the child began
        kind, item = child.ask((folder, function, path, options, seconds, memory))
        while kind == "item":
            try:
                yield item
            except GeneratorExit:
                child.ask(False)
                _idle.append(child)
                raise
            kind, item = child.ask(True)
    except (EOFError, ConnectionError) as error:
        code = child.end()
        if code == -signal.SIGPROF:
            what = f"not read within {seconds:.0f} s of computing"
        elif code < 0:
            what = f"its reader crashed ({signal.Signals(-code).name})"
        else:
            raise RuntimeError(f"the process that reads {path} ended with {code}") from error
        raise FormatError(f"{path}: {what}, expected a sound file: damaged?") from error
    except GeneratorExit:
        raise
    except BaseException:
        child.end()
        raise
    if kind == "memory":
        child.end()
        raise FormatError(
            f"{path}: takes more than {memory / 1e6:.0f} MB of memory, expected less for {size} bytes: damaged?"
        )
    _idle.append(child)
    if kind == "error":
        raise item
    if kind == "bug":
        raise RuntimeError(f"while reading {path}:\n{item}")


def serve(descriptor: int) -> None:
    """What the child does: answer calls until its parent closes the connection or ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)  # what the C library prints as it crashes
    connection = Connection(descriptor)
    while True:
        try:
            folder, function, path, options, seconds, memory = connection.recv()
        except EOFError:
            return
        if folder is not None:
            os.chdir(folder)
        _limit_memory(memory)
        for answer in _answers(function, path, options, seconds):
            try:
                connection.send(answer)
            except MemoryError:
                connection.send(("memory", None))
                break
            if answer[0] == "item" and not connection.recv():
                connection.send(("end", None))
                break


def _answers(
    function: Callable[..., Any], path: Path, options: ImportOptions, seconds: float
) -> Iterator[tuple[str, Any]]:
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        made = function(path, options)
        for item in made if isinstance(made, Iterator) else (made,):
            signal.setitimer(signal.ITIMER_PROF, 0)
            yield "item", item
            signal.setitimer(signal.ITIMER_PROF, seconds)
        yield "end", None
    except UsertError as error:
        yield "error", error
    except MemoryError:
        yield "memory", None
    except Exception:
        yield "bug", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _limit_memory(more: int) -> None:
    """So many bytes beside what the process has now, unless its user allows fewer."""
    if _STATM.exists():
        now = int(_STATM.read_text().split()[0]) * resource.getpagesize()
        limit, hard = now + more, resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(
            resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
        )
