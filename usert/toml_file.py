"""TOML files of a user: configurations, recipes, pairs to evaluate."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .errors import UsertError


def read_toml(path: Path, fault: str, *, error: type[UsertError]) -> dict[str, Any]:
    """The content of the TOML file at `path`.

    `fault`: what is told where it cannot be read, such as "cannot read the recipe". Errors: `error`, for that and for
    what is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise error(f"{path}: {fault}: {cause.strerror}") from cause
    except ValueError as cause:  # UnicodeDecodeError and TOMLDecodeError
        raise error(f"{path}: not valid TOML: {cause}") from cause
