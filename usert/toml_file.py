"""TOML files of a user: configurations, recipes, pairs to evaluate."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .errors import UsertError


def read_toml(path: Path, what: str, *, error: type[UsertError]) -> dict[str, Any]:
    """The content of the file at `path`; `what` it is for messages, such as "the recipe".

    Errors: `error` for a file that cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise error(f"{path}: cannot read {what}: {fault.strerror}") from fault
    except ValueError as fault:  # UnicodeDecodeError and TOMLDecodeError
        raise error(f"{path}: not valid TOML: {fault}") from fault
