"""`--config FILE`: the options of a command from a TOML file.

The keys are the command's own options, whichever it has, less those that are named as options of one start. Invariant:
the command line wins over the file, and an unknown key, or a value of another type, is rejected by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import typer

from usert.bundle import packaged_bundles
from usert.errors import OptionError
from usert.toml_file import read_toml

CONFIG_HELP = (
    "TOML file of these options, such as rf_bind = true for --rf-bind; the command line wins over it."
)
_ALIKE = 0.7
"""Similarity, at most 1, from which on an unknown key is taken for a misspelt one."""
_EXPECTED = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path in quotes, not an empty one",
}


def config_reader(
    *, without: Collection[str] = ("config",)
) -> Callable[[typer.Context, Path | None], Path | None]:
    """A callback of the eager option `--config`, which makes the values of its file defaults of the options after it.

    `without` names parameters of the command that are no keys of a file. Errors, from the callback: `OptionError`.
    """

    def read(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None:
            context.default_map = {**(context.default_map or {}), **_options(context, path, without)}
        return path

    return read


def _options(context: typer.Context, path: Path, without: Collection[str]) -> dict[str, Any]:
    """Values of the file by the names of the command's parameters. Errors: `OptionError`."""
    kinds = get_type_hints(context.command.callback)
    known = {
        flag[2:].replace("-", "_"): option
        for option in context.command.params
        if option.name in kinds and option.name not in without
        for flag in option.opts
        if flag.startswith("--")
    }
    values: dict[str, Any] = {}
    for key, value in read_toml(path, "cannot read the configuration", error=OptionError).items():
        if isinstance(value, dict):
            raise OptionError(f"{path}: got a table [{key}], expected plain keys only, before any table")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=_ALIKE) or known
            raise OptionError(f"{path}: unknown key {key!r}, expected {', '.join(near)}")
        option = known[key]
        try:
            taken = _taken(kinds[option.name], value, path.parent)
            if key == "bundle" and not Path(taken).is_dir():
                taken = str(packaged_bundles().get(str(value), taken))
            option.process_value(context, taken)  # rules of the option itself, such as a least value
        except typer.BadParameter as error:
            raise OptionError(f"{path}: {key}: {' '.join(error.message.split()).rstrip('.')}") from error
        values[option.name] = taken
    return values


def _taken(kind: Any, value: object, folder: Path) -> Any:
    """`value` as an option of `kind` takes it; paths begin at `folder`. Raises `BadParameter`."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        kind = next(part for part in parts if part is not NoneType)
        return _taken(kind, value, folder)
    if origin is list:  # an option that may be repeated; once is enough
        items = value if isinstance(value, list) else [value]
        return [_taken(parts[0], item, folder) for item in items]
    if kind is Path and isinstance(value, str) and value:
        return str(folder / value)
    if kind is str and type(value) is int:  # lag = 2, as --lag 2
        return str(value)
    if kind is float and type(value) is int:
        return float(value)
    if kind in _EXPECTED and (kind is Path or type(value) is not kind):
        raise typer.BadParameter(f"got {value!r}, expected {_EXPECTED[kind]}")
    return value
