"""The messages of the control channel: commands to a live server and its replies, in protocol version 1.

A message is one JSON header part; `docs/protocol.md` is its specification. Invariant: a command that exists has the
arguments of its kind alone, each within its limits, so that nothing is carried out that was understood by half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, get_args

from usert.errors import OptionError
from usert.schema import Scalar, Schema

from ..imaging.strain_ratio import Rectangle
from .header import (
    MAX_HEADER_BYTES,
    SCALARS,
    UNPRINTABLE,
    Buffer,
    MalformedError,
    as_fields,
    decode_header,
    encode_header,
    read_values,
    text,
)

MAX_PATH = 1024
MAX_ERROR = 1024
MAX_CASE = 64
"""Characters of the identifier of a case: those of a DICOM Patient ID."""
_MAX_RECTANGLE = 64
_ENVELOPE = ("usert", "kind", "command")


def _is_rectangle(value: Any) -> bool:
    try:
        return text(_MAX_RECTANGLE).holds(value) and bool(Rectangle.parse(value))
    except OptionError:
        return False


Path: TypeAlias = Annotated[str, text(MAX_PATH, least=1)]
"""On the server's machine."""
Region: TypeAlias = Annotated[
    str, Scalar(_is_rectangle, "depth,lateral in mm, each a:b with a < b, such as 10:14.5,3:8")
]
"""A rectangle of the frame, as `Rectangle.parse` reads it."""
Choice: TypeAlias = Annotated[str, text(32)]
"""The value of an option of `usert serve`; empty: the server chooses."""


class _Command:
    """What all commands have in common. Errors: `MalformedError` for an argument outside its limits."""

    __slots__ = ()
    name: ClassVar[str]
    """On the wire and on the command line."""

    def __post_init__(self) -> None:
        _schema(self.name).values(type(self), as_fields(self))

    def to_parts(self) -> list[Buffer]:
        """The header, with the arguments that are not empty."""
        given = {key: value for key, value in as_fields(self).items() if value}
        return [encode_header("command", {"command": self.name, **given})]


@dataclass(frozen=True, slots=True, kw_only=True)
class _StreamCommand(_Command):
    """A command for one stream or for all."""

    stream: str = ""
    """Name of the stream; empty: all streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(_Command):
    """Report the state of the server."""

    name = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRegions(_Command):
    """Measure the strain ratio of two rectangles in each image."""

    name = "roi"
    target: Region
    background: Region
    stream: str = ""
    """Name of the stream; empty: all streams."""

    @property
    def rectangles(self) -> tuple[Rectangle, Rectangle]:
        """Target and background."""
        return Rectangle.parse(self.target), Rectangle.parse(self.background)


class ClearRegions(_StreamCommand):
    """Stop measuring a strain ratio."""

    name = "roi-clear"


class Freeze(_StreamCommand):
    """Hold the present image."""

    name = "freeze"


class Resume(_StreamCommand):
    """End a freeze."""

    name = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord(_Command):
    """Record frames and images."""

    name = "record"
    path: Path
    displacement: bool = False
    """Whether displacement is recorded too, instead of a hash of it."""
    case: Annotated[str, text(MAX_CASE)] = ""
    """Identifier of the patient or examination, kept in the record alone; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRecord(_Command):
    """End the record."""

    name = "record-stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBundle(_Command):
    """Load another bundle and go on with it."""

    name = "bundle"
    path: Path
    engine: Choice = ""
    precision: Choice = ""


class Compare(_StreamCommand):
    """Estimate the next pair forward and backward, and compare."""

    name = "compare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quit(_Command):
    """End the server."""

    name = "quit"


StreamCommand: TypeAlias = SetRegions | ClearRegions | Freeze | Resume
Command: TypeAlias = Status | StreamCommand | StartRecord | StopRecord | ChangeBundle | Compare | Quit
COMMANDS: Mapping[str, type[Command]] = {kind.name: kind for kind in get_args(Command)}
"""The commands by their names on the wire."""


def read_command(parts: Sequence[Buffer]) -> Command:
    """The command in a message. Errors: `MalformedError`; an argument of unknown name is refused, not ignored."""
    header = _only_part(parts, "command")
    name = header.get("command")
    if not isinstance(name, str) or name not in COMMANDS:
        raise MalformedError("field", f"command: got {name!r:.40}, expected {', '.join(COMMANDS)}")
    arguments = {key: value for key, value in header.items() if key not in _ENVELOPE}
    return _schema(name).build(COMMANDS[name], arguments)


def _schema(name: str) -> Schema:
    return Schema(error=lambda line: MalformedError("field", f"{name}: {line}"), scalars=SCALARS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The reply to one command: its result, or why it was refused."""

    command: str
    """Name of the command; empty where it could not be read."""
    result: Mapping[str, Any] | None = None
    """Values that JSON can hold; None if the command was refused."""
    error: str = ""
    """Why it was refused, in one line; empty if it was not."""

    def __post_init__(self) -> None:
        if (self.result is None) != bool(self.error):
            raise ValueError("reply: expected a result or an error, got both or neither")

    @classmethod
    def refusal(cls, command: str, error: str) -> Self:
        """A reply that refuses `command`; `error` is made one line of at most `MAX_ERROR` characters."""
        line = UNPRINTABLE.sub("?", " ".join(error.split()))[:MAX_ERROR]
        return cls(command=command, error=line or "refused")

    @property
    def ok(self) -> bool:
        """Whether the command was carried out."""
        return self.result is not None

    def to_parts(self) -> list[Buffer]:
        """The header. Errors: `TypeError` or `ValueError` for a result that JSON or a header cannot hold."""
        answer = {"error": self.error} if self.result is None else {"result": dict(self.result)}
        header = encode_header("reply", {"command": self.command, "ok": self.ok, **answer})
        if len(header) > MAX_HEADER_BYTES:
            raise ValueError(f"reply: got {len(header)} bytes, expected at most {MAX_HEADER_BYTES}")
        return [header]

    @classmethod
    def from_parts(cls, parts: Sequence[Buffer]) -> Self:
        """Check and read; the values in the result are not checked. Errors: `MalformedError`."""
        header = _only_part(parts, "reply")
        values = read_values(_Refused if header.get("ok") is False else _Done, header)
        del values["ok"]
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """Header keys of a reply to a command that was carried out."""

    command: str
    ok: Literal[True]
    result: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """Header keys of a reply to a command that was refused."""

    command: str
    ok: Literal[False]
    error: Annotated[str, text(MAX_ERROR, least=1)]


def _only_part(parts: Sequence[Buffer], kind: str) -> dict[str, Any]:
    header = decode_header(parts, kind)
    if len(parts) != 1:
        raise MalformedError("parts", f"{kind} message: got {len(parts)} parts, expected 1 (header)")
    return header
