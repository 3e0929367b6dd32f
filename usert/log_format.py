"""The format of log records: a line for a person, or a JSON object for a collector of logs.

Invariant: one record is one line of printable text, whatever strings from the network are in it; of an array, message
or buffer only the type is written.
"""

from __future__ import annotations

import json
import logging
import math
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from .errors import OptionError

LogFormat = Literal["text", "json"]
MAX_TEXT = 8192
"""Characters of a string that are written; longer ones are cut, and their length is written instead."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest came by `extra`."""


def configure(format: LogFormat | str) -> None:
    """Log to stderr from level `INFO`, unless logging is configured already; for commands, not for libraries.

    Errors: `OptionError` for a format other than `text` and `json`.
    """
    if format not in get_args(LogFormat):
        raise OptionError(f"log format: got {format!r}, expected text or json")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO)


def printable(text: str) -> str:
    """Escape whatever is not printable in `text`, as `\\n`, `\\x1b` or `\\ud800`; the result is always valid UTF-8."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class TextFormatter(logging.Formatter):
    """A formatter of lines for a person: `usert: message`, and a traceback, if there is one, on lines of its own."""

    def __init__(self) -> None:
        super().__init__("usert: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """A formatter of JSON objects: `time` (RFC 3339, UTC, ms), `level`, `logger`, `event`, then the fields of `extra`.

    An exception adds `error` and `traceback`. A field whose name is taken gets a `_` at its end.
    """

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _plain(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
            fields["traceback"] = _plain(self.formatException(record.exc_info))
        for name, value in vars(record).items():
            if name not in _OWN:
                key = printable(name)
                fields[f"{key}_" if key in fields else key] = _plain(value)
        return json.dumps(fields, ensure_ascii=True, allow_nan=False)


def _plain(value: object) -> str | int | float | bool | None:
    """What JSON can say of `value` in a few words: no array, message or buffer is ever written out."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        text = value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… ({len(value)} characters)"
        return text.encode("utf-8", "backslashreplace").decode("utf-8")  # half a surrogate pair is no UTF-8
    return f"<{type(value).__name__}>"
