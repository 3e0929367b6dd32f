"""The file of an `ipc://` endpoint that a server binds.

ZeroMQ (4.3) removes whatever lies there, a file or the socket of a server that runs, and leaves its own behind. Knows
file names, not ZeroMQ. Invariant: only the file of a socket that nobody listens at is ever removed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from usert.errors import OptionError

_IPC, _ABSTRACT = "ipc://", "@"


@contextmanager
def claimed(*endpoints: str) -> Iterator[None]:
    """While they are bound in the block; afterwards their files are gone. Errors: `OptionError` where one is taken."""
    paths = [
        Path(name) for end in endpoints if (name := end.removeprefix(_IPC)) != end if name[0] != _ABSTRACT
    ]
    for path in paths:
        if path.exists() and not path.is_socket():
            raise OptionError(f"endpoint {_IPC}{path}: got a file, expected a name that is free")
        if _answers(path):
            raise OptionError(f"endpoint {_IPC}{path}: cannot bind: Address already in use")
    try:
        yield
    finally:
        for path in paths:
            if path.is_socket() and not _answers(path):
                with suppress(OSError):
                    path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:  # nothing there, or nobody, or too long a name, of which ZeroMQ complains
            return False
    return True
