"""Dataclasses from plain values: what is read, and how what is not is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from usert.errors import OptionError
from usert.schema import PLAIN, Scalar, Schema

Even = Annotated[int, Scalar(lambda value: type(value) is int and value % 2 == 0, "an even integer")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: Literal["left", "right"]
    size: Even | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    share: float
    parts: tuple[Part, ...] = ()
    span: tuple[int, int] = (0, 1)
    limits: dict[str, float] | None = None
    either: int | str = 0
    whatever: Any = None


SCHEMA = Schema(error=OptionError)


def test_plain_values_become_the_dataclass() -> None:
    tree = {
        "share": 1,
        "parts": [{"name": "left"}, {"name": "right", "size": 4}],
        "span": [2, 3],
        "limits": {"a": 0.5},
        "either": "x",
        "whatever": [{}],
    }
    whole = SCHEMA.build(Whole, tree)
    assert whole == Whole(
        share=1.0,
        parts=(Part(name="left"), Part(name="right", size=4)),
        span=(2, 3),
        limits={"a": 0.5},
        either="x",
        whatever=[{}],
    )
    assert type(whole.share) is float


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"share": True}, "share: got True, expected a finite number"),
        ({"share": float("nan")}, "share: got nan, expected a finite number"),
        ({"share": 10**400}, "share: got 1" + "0" * 39 + ", expected a finite number"),
        ({"parts": {}}, "parts: got {}, expected tuple[test_schema.Part, ...]"),
        ({"parts": [{"name": "up"}]}, "parts[0].name: got 'up', expected 'left' or 'right'"),
        ({"parts": [{"name": ["left"]}]}, "parts[0].name: got ['left'], expected 'left' or 'right'"),
        ({"parts": [{"name": "left", "size": 3}]}, "parts[0].size: got 3, expected an even integer"),
        ({"parts": [{"size": 2}]}, "key parts[0].name is missing"),
        ({"parts": [{"nam": 1}]}, "unknown key parts[0].nam, expected name, size"),
        ({"span": [1, 2, 3]}, "span: got [1, 2, 3], expected tuple[int, int]"),
        ({"span": [1, 2.0]}, "span[1]: got 2.0, expected an integer"),
        ({"limits": {"a": "x"}}, "limits.a: got 'x', expected a finite number"),
        ({"limits": {"a\nb": "x"}}, r"limits.'a\nb': got 'x', expected a finite number"),
        ({"either": None}, "either: got None, expected an integer"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(OptionError) as caught:
        SCHEMA.build(Whole, {"share": 1} | changes)
    assert str(caught.value) == line


def test_keys_without_a_field_are_ignored_where_that_is_wanted() -> None:
    tree = {"name": "left", "new\n": 1}
    assert Schema(error=OptionError, ignores_unknown=True).build(Part, tree) == Part(name="left")
    with pytest.raises(OptionError, match=r"^unknown key 'new\\n', expected name, size$"):
        SCHEMA.build(Part, tree)


def test_limits_hold_for_every_scalar_of_a_type_but_those_with_limits_of_their_own() -> None:
    positive = Scalar(lambda value: type(value) is int and value > 0, "an integer above 0")
    strict = Schema(error=OptionError, scalars={**PLAIN, int: positive})
    with pytest.raises(OptionError, match=r"^span\[0\]: got 0, expected an integer above 0$"):
        strict.build(Whole, {"share": 1, "span": [0, 1]})
    assert strict.build(Part, {"name": "left", "size": -2}).size == -2
