"""A frozen dataclass from a tree of plain values, as JSON and TOML give them.

Knows type hints; does not know manifests, recipes or files. Invariant: every key is known, none that is
needed is missing and every value has its type, or the error names the key by its whole path.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from typing import Any, TypeVar

from .errors import UsertError

_T = TypeVar("_T")


def build(cls: type[_T], tree: object, where: str, *, error: type[UsertError]) -> _T:
    """`tree` as `cls`, where it stands at the path `where` ("" for the whole). Raises `error`.

    Lists become tuples, whole numbers become floats where a float is wanted; nothing else is converted. What
    the classes check in `__post_init__` is theirs to raise.
    """
    if not isinstance(tree, dict):
        raise error(f"{where}: got {type(tree).__name__}, expected an object")
    kinds = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    if unknown := sorted(set(tree) - set(kinds)):
        raise error(f"unknown key {prefix}{unknown[0]}, expected {', '.join(kinds)}")
    without_default = dataclasses.MISSING
    needed = [f.name for f in fields if f.default is without_default and f.default_factory is without_default]
    if missing := [name for name in needed if name not in tree]:
        raise error(f"key {prefix}{missing[0]} is missing")
    return cls(**{name: _value(kinds[name], item, f"{prefix}{name}", error) for name, item in tree.items()})


def _value(kind: Any, value: object, where: str, error: type[UsertError]) -> Any:
    """A plain value as the annotated `kind`: a dataclass, a scalar, or tuples, unions and dicts of them."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value, where, error=error)
    if origin is typing.Literal:
        if value in parts:
            return value
        raise error(f"{where}: got {value!r}, expected {' or '.join(map(repr, parts))}")
    if origin is types.UnionType:
        if value is None and type(None) in parts:
            return None
        some = [part for part in parts if part is not type(None)]
        exact = [part for part in some if type(value) is part]
        return _value((exact or some)[0], value, where, error)
    if origin is tuple and isinstance(value, list):
        of = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        if len(value) == len(of):
            pairs = enumerate(zip(of, value, strict=True))
            return tuple(_value(part, item, f"{where}[{i}]", error) for i, (part, item) in pairs)
    elif origin is dict and isinstance(value, dict):
        return {key: _value(parts[1], item, f"{where}.{key}", error) for key, item in value.items()}
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= sys.float_info.max:  # neither infinite nor a NaN, nor too long a whole number
            return float(value)
    elif type(value) is kind:
        return value
    raise error(f"{where}: got {value!r}, expected {_name(kind)}")


def _name(kind: Any) -> str:
    """`float` rather than `<class 'float'>`, but `tuple[int, int]` whole."""
    plain = typing.get_origin(kind) is None
    return str(getattr(kind, "__name__", kind)) if plain else str(kind)
