"""The file of a training state: a dictionary with a format number, the recipe that it belongs to, and the run's values.

Invariant: an existing state stays intact until a complete new one replaces it.
"""

from __future__ import annotations

import dataclasses
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from usert.errors import RecipeError, UsertError, WeightsError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STATE_FORMAT = 1


def write_state(path: Path, recipe: DataclassInstance, state: dict[str, Any]) -> None:
    """Write `state` beside `path`, sync it to disk, then rename it. Errors: `UsertError` for a disk that fails."""
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            torch.save({"format": STATE_FORMAT, "recipe": dataclasses.asdict(recipe)} | state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UsertError(f"{path}: cannot save the state: {one_line(error)}") from error


def read_state(path: Path, recipe: DataclassInstance) -> dict[str, Any]:
    """Read the state of a run of `recipe` from `path`, with tensors on the CPU.

    Errors: `WeightsError` for a file that is not a state, `RecipeError` for the state of another recipe.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such training state; leave --resume out to start anew")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever unpickling makes of a broken or foreign file
        raise WeightsError(f"{path}: not a training state: {one_line(error)}") from error
    number = state.get("format") if isinstance(state, dict) else None
    if number != STATE_FORMAT:
        raise WeightsError(f"{path}: got state format {number!r}, expected {STATE_FORMAT}")
    ours, theirs = dataclasses.asdict(recipe), state.get("recipe")
    if ours != theirs:
        other = [key for key in ours if not isinstance(theirs, dict) or theirs.get(key) != ours[key]]
        raise RecipeError(
            f"{path}: was made by another recipe (differs in {', '.join(other)}); "
            "resume with the same one or use another folder"
        )
    return dict(state)


def one_line(error: Exception) -> str:
    """The first line of an error's message, or its type."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
