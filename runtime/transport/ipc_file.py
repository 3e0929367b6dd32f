"""The files of `ipc://` endpoints that a server binds.

When it binds, ZeroMQ (4.3) removes whatever lies at the path, be it a file or the socket of a running server, and it
leaves its own socket file behind. Invariant: only a socket file at which nobody listens is removed.
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
    """Check that the endpoints are free to be bound in the block, and remove their files after it.

    Errors: `OptionError` for an endpoint that is in use, or whose path is that of another file.
    """
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
        except OSError:  # nothing there, nobody listens, or the path is too long, which ZeroMQ reports
            return False
    return True
