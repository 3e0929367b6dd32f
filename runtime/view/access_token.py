"""The access token: the secret that authenticates a browser where other machines can reach the page."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from usert.errors import OptionError

from ..transport.keys import check_owner_only

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,256}")
_RANDOM_BYTES = 32


def random_token() -> str:
    """A new random token."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def read_token(path: Path) -> str:
    """The token in the file at `path`. Errors: `OptionError`, also for a file that other users may read."""
    try:
        with path.open("rb") as file:
            check_owner_only(file, path, "--token-file")
            text = file.read(1024).decode("ascii", "replace").strip()
    except OSError as error:
        raise OptionError(f"--token-file: cannot read {path}: {error.strerror}") from error
    if not _TOKEN.fullmatch(text):
        raise OptionError(
            f"--token-file: got {path}, which is not a token, expected one line of 22 to 256 letters, digits, - and _"
        )
    return text
