"""What a live server is told, and what it answers: the messages of its control channel, in protocol version 1.

A message is one JSON header part; `docs/protocol.md` is its specification. Knows neither sockets nor what becomes of
a command. Invariant: a command is one of `COMMANDS` with arguments that are its own, each within its limits, so that
nothing is carried out that was understood by half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from usert.errors import OptionError

from ..imaging.strain_ratio import Rectangle
from .header import MAX_HEADER_BYTES, MAX_TEXT, UNPRINTABLE, Buffer, Header, MalformedError, encode_header

CommandName = Literal[
    "status",
    "roi",
    "roi-clear",
    "freeze",
    "resume",
    "record",
    "record-stop",
    "bundle",
    "compare",
    "quit",
]

COMMANDS: Mapping[CommandName, Mapping[str, bool]] = {
    "status": {},
    "roi": {"target": True, "background": True, "stream": False},
    "roi-clear": {"stream": False},
    "freeze": {"stream": False},
    "resume": {"stream": False},
    "record": {"path": True, "displacement": False},
    "record-stop": {},
    "bundle": {"path": True, "engine": False, "precision": False},
    "compare": {"stream": False},
    "quit": {},
}
"""The arguments of each command, and whether it needs them."""

MAX_PATH = 1024
MAX_ERROR = 1024
_FLAGS = ("displacement",)
_RECTANGLES = ("target", "background")
_MOST = {"path": MAX_PATH, "target": 64, "background": 64, "engine": 32, "precision": 32}
"""Characters; so few that every command fits into a header, however it is escaped."""
_ENVELOPE = ("usert", "kind", "command")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One thing to do. Errors: `MalformedError`, a `WireError`, for arguments that make no sense."""

    name: CommandName
    stream: str = ""
    """Which stream it is for; empty: all, or the only one."""
    target: str = ""
    background: str = ""
    """Rectangles, as `Rectangle.parse` reads them."""
    path: str = ""
    """On the machine of the server."""
    displacement: bool = False
    """Record it, too."""
    engine: str = ""
    precision: str = ""
    """As the options of `usert serve`; empty: the server chooses."""

    def __post_init__(self) -> None:
        if self.name not in COMMANDS:
            raise MalformedError("field", f"command: got {self.name!r:.40}, expected {', '.join(COMMANDS)}")
        known = COMMANDS[self.name]
        for key in self.__slots__[1:]:
            value = getattr(self, key)
            if value and key not in known:
                raise _unknown(self.name, key)
            if known.get(key) and not value:
                raise MalformedError("field", f"{self.name}: {key}: missing or empty")
            if isinstance(value, str):
                _check_text(f"{self.name}: {key}", value, _MOST.get(key, MAX_TEXT))
            if value and key in _RECTANGLES:
                _check_rectangle(f"{self.name}: {key}", value)

    def to_parts(self) -> list[Buffer]:
        """The header, with the arguments that are given."""
        given = {key: value for key in COMMANDS[self.name] if (value := getattr(self, key))}
        return [encode_header("command", {"command": self.name, **given})]

    @classmethod
    def from_parts(cls, parts: Sequence[Buffer]) -> Self:
        """Check and read; an argument of unknown name is refused, not ignored."""
        header = _only_part(parts, "command")
        name = cast(CommandName, header.choice("command", tuple(COMMANDS)))
        for key in header:
            if key not in COMMANDS[name] and key not in _ENVELOPE:
                raise _unknown(name, key)
        given: dict[str, Any] = {
            key: header.flag(key) if key in _FLAGS else header.text(key, _MOST.get(key, MAX_TEXT))
            for key in COMMANDS[name]
            if key in header
        }
        return cls(name=name, **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to one command: what came of it, or why nothing did."""

    command: str
    """The name of the command; empty where it was not read."""
    result: Mapping[str, Any] | None = None
    """What JSON can say; None if the command was refused."""
    error: str = ""
    """One line; empty if it was not."""

    def __post_init__(self) -> None:
        if (self.result is None) != bool(self.error):
            raise ValueError("reply: expected a result or an error, got both or neither")

    @classmethod
    def refusal(cls, command: str, error: str) -> Self:
        """With `error` as one line that is not too long."""
        line = UNPRINTABLE.sub("?", " ".join(error.split()))[:MAX_ERROR]
        return cls(command=command, error=line or "refused")

    @property
    def ok(self) -> bool:
        """Whether the command was carried out."""
        return self.result is not None

    def to_parts(self) -> list[Buffer]:
        """The header. Errors: `TypeError` or `ValueError` for a result that is no JSON, or too large."""
        answer = {"error": self.error} if self.result is None else {"result": dict(self.result)}
        header = encode_header("reply", {"command": self.command, "ok": self.ok, **answer})
        if len(header) > MAX_HEADER_BYTES:
            raise ValueError(f"reply: got {len(header)} bytes, expected at most {MAX_HEADER_BYTES}")
        return [header]

    @classmethod
    def from_parts(cls, parts: Sequence[Buffer]) -> Self:
        """Check and read; the values of the result are not checked."""
        header = _only_part(parts, "reply")
        command = header.text("command")
        if header.flag("ok"):
            return cls(command=command, result=header.mapping("result"))
        error = header.text("error", MAX_ERROR)
        if not error:
            raise MalformedError("field", "header key error: got nothing, expected a line")
        _check_text("header key error", error, MAX_ERROR)
        return cls(command=command, error=error)


def _only_part(parts: Sequence[Buffer], kind: str) -> Header:
    header = Header.parse(parts, kind)
    if len(parts) != 1:
        raise MalformedError("parts", f"{kind} message: got {len(parts)} parts, expected 1 (header)")
    return header


def _unknown(name: CommandName, key: str) -> MalformedError:
    expected = ", ".join(COMMANDS[name]) or "no argument"
    return MalformedError("field", f"{name}: got the argument {key!r:.40}, expected {expected}")


def _check_text(what: str, value: str, most: int) -> None:
    if len(value) > most:
        raise MalformedError("field", f"{what}: got {len(value)} characters, expected at most {most}")
    if UNPRINTABLE.search(value):
        raise MalformedError("field", f"{what}: got {value!r:.40}, expected no control characters")


def _check_rectangle(what: str, value: str) -> None:
    try:
        Rectangle.parse(value)
    except OptionError as error:
        raise MalformedError("field", f"{what}: {error}") from error
