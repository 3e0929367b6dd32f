"""Frozen dataclasses from trees of plain values, as JSON and TOML give them.

Knows type hints; does not know manifests, recipes, messages or files. Invariant: every field has a value of its
declared type and within its limits, or the error names the key by its whole path.
"""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A condition on a value without parts; as `Annotated[str, Scalar(...)]` it holds for one field alone."""

    holds: Callable[[Any], bool]
    """The condition, a predicate that takes any plain value and does not raise."""
    expected: str
    """The condition in words, for the error."""


def is_number(value: Any) -> bool:
    """Whether `value` is an integer or float within the range of floats, neither infinite nor NaN."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


PLAIN: Mapping[type, Scalar] = {
    bool: Scalar(lambda value: type(value) is bool, "true or false"),
    int: Scalar(lambda value: type(value) is int, "an integer"),
    float: Scalar(is_number, "a finite number"),
    str: Scalar(lambda value: type(value) is str, "a string"),
}
"""The conditions on scalars whose annotation sets none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """Rules for turning plain values into dataclasses.

    Lists become tuples, and integers become floats where a float is declared; nothing else is converted.
    """

    error: Callable[[str], Exception]
    """Maker of the exception to raise, from its message, one line."""
    scalars: Mapping[type, Scalar] = dataclasses.field(default_factory=lambda: PLAIN)
    ignores_unknown: bool = False
    """Whether keys without a field are ignored instead of refused."""

    def build(self, kind: type[_T], tree: object, where: str = "") -> _T:
        """Build the dataclass `kind` from `tree`, whose path in the whole is `where`.

        Errors: `error` for a key that is unknown or missing and a value that does not fit; those of each
        `__post_init__`.
        """
        return kind(**self.values(kind, tree, where))

    def values(
        self, kind: type, tree: object, where: str = "", *, without: Collection[str] = ()
    ) -> dict[str, Any]:
        """Check `tree` against the fields of the dataclass `kind`, but for those in `without`: the values by field.

        `where` is the path of `tree`. Errors: `error`, as in `build`.
        """
        if not isinstance(tree, dict):
            raise self._wrong(where, tree, "an object")
        known = _fields(kind)
        if not self.ignores_unknown:
            for key in tree:
                if key not in known:
                    raise self.error(
                        f"unknown key {_path(where, key)}, expected {', '.join(known) or 'none'}"
                    )
        values = {}
        for name, (hint, needed) in known.items():
            if name in without:
                continue
            if name in tree:
                values[name] = self.value(hint, tree[name], f"{where}.{name}" if where else name)
            elif needed:
                raise self.error(f"key {_path(where, name)} is missing")
        return values

    def value(self, hint: Any, value: Any, where: str) -> Any:
        """Convert `value`, whose path is `where`, to the annotation `hint`.

        The annotation is a scalar, a dataclass, or tuples, unions and dicts of these. Errors: `error` for a misfit.
        """
        if hint in self.scalars:
            if not self.scalars[hint].holds(value):
                raise self._wrong(where, value, self.scalars[hint].expected)
            return float(value) if hint is float else value
        origin, parts = _parts(hint)
        if origin in (types.UnionType, Union):
            if value is None and type(None) in parts:
                return None
            some = [part for part in parts if part is not type(None)]
            return self.value(next((part for part in some if _suits(part, value)), some[0]), value, where)
        if origin is Annotated or origin is Literal:
            scalar = parts[1] if origin is Annotated else _choice(parts)
            if not scalar.holds(value):
                raise self._wrong(where, value, scalar.expected)
            return value
        if origin is tuple and isinstance(value, list):
            of = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
            if len(value) == len(of):
                pairs = enumerate(zip(of, value, strict=True))
                return tuple(self.value(part, item, f"{where}[{i}]") for i, (part, item) in pairs)
        elif origin is dict and isinstance(value, dict):
            return {key: self.value(parts[1], item, _path(where, key)) for key, item in value.items()}
        elif dataclasses.is_dataclass(hint):
            return self.build(hint, value, where)  # type: ignore[arg-type]
        elif hint is Any:
            return value
        raise self._wrong(where, value, str(hint))

    def _wrong(self, where: str, value: object, expected: str) -> Exception:
        return self.error(f"{where + ': ' if where else ''}got {value!r:.40}, expected {expected}")


def _suits(part: Any, value: object) -> bool:
    """Whether `value` is of the kind of one `part` of a union."""
    return type(value) is part or (isinstance(value, list) and get_origin(part) is tuple)


@cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint), get_args(hint)


@cache
def _choice(parts: tuple[Any, ...]) -> Scalar:
    kinds = {type(part) for part in parts}
    return Scalar(lambda value: type(value) in kinds and value in parts, " or ".join(map(repr, parts)))


@cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    """The annotation of each field of a dataclass, and whether it must be given."""
    hints, none = get_type_hints(kind, include_extras=True), dataclasses.MISSING
    return {
        field.name: (hints[field.name], field.default is none and field.default_factory is none)
        for field in dataclasses.fields(kind)
    }


def _path(where: str, key: str) -> str:
    """The path of `key` in what is at `where`, short and of one line."""
    shown = key if key.isprintable() and len(key) <= 40 else f"{key!r:.40}"
    return f"{where}.{shown}" if where else shown
