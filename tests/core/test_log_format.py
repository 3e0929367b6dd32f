"""One record, one line, whatever is in it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from usert.errors import OptionError
from usert.log_format import MAX_TEXT, JsonFormatter, TextFormatter, configure, printable


def record(message: str = "hello", *args: object, exc_info: Any = None, **extra: Any) -> logging.LogRecord:
    made = logging.getLogger("usert.test").makeRecord(
        "usert.test", logging.WARNING, __file__, 1, message, args, exc_info, extra=extra
    )
    made.created = 1_700_000_000.1234
    return made


def fields(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(made)
    assert line.isascii()
    assert line.isprintable()
    parsed = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert isinstance(parsed, dict)
    return parsed


def test_a_record_is_an_object_of_four_keys() -> None:
    assert fields(record("session %d: %r", 3, "probe")) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "warning",
        "logger": "usert.test",
        "event": "session 3: 'probe'",
    }


def test_extra_fields_are_added_as_they_are() -> None:
    found = fields(record(session=3, stream="probe", age_ms=1.5, frozen=True, reference=None))
    assert {key: found[key] for key in list(found)[4:]} == {
        "session": 3,
        "stream": "probe",
        "age_ms": 1.5,
        "frozen": True,
        "reference": None,
    }


def test_an_extra_field_does_not_replace_one_of_ours() -> None:
    found = fields(record(time="never", level="none", event="forged"))
    assert (found["level"], found["event"]) == ("warning", "hello")
    assert (found["time_"], found["level_"], found["event_"]) == ("never", "none", "forged")


@pytest.mark.parametrize(
    "text",
    ['two\nlines\r\n{"level": "critical"}', "\x1b[2J", "\u2028\u202e", "half \ud800", "\x00", '"\\', "Ä 超"],
)
def test_text_from_the_network_stays_inside_its_string(text: str) -> None:
    found = fields(record("stream %s", text, stream=text))
    assert set(found) == {"time", "level", "logger", "event", "stream"}
    encoded = text.encode("utf-8", "backslashreplace").decode("utf-8")
    assert (found["event"], found["stream"]) == (f"stream {encoded}", encoded)
    found["stream"].encode("utf-8")


def test_payloads_are_named_not_written() -> None:
    found = fields(record(samples=np.zeros((1920, 768)), parts=[b"a"], header=b"secret", scores={"a": 1}))
    assert [found[key] for key in ("samples", "parts", "header", "scores")] == [
        "<ndarray>",
        "<list>",
        "<bytes>",
        "<dict>",
    ]


def test_long_text_is_cut_and_says_so() -> None:
    found = fields(record("x" * 100_000))
    assert found["event"] == f"{'x' * MAX_TEXT}… (100000 characters)"


def test_numbers_that_json_lacks_are_words() -> None:
    found = fields(record(age_ms=float("nan"), rate=float("inf")))
    assert (found["age_ms"], found["rate"]) == ("nan", "inf")


def test_an_exception_is_a_name_and_a_traceback_of_one_line() -> None:
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        found = fields(record(exc_info=sys.exc_info()))
    assert found["error"] == "RuntimeError"
    assert found["traceback"].startswith("Traceback (most recent call last):\n")


def test_text_stays_what_it_was() -> None:
    assert TextFormatter().format(record("session %d: %r", 3, "probe")) == "usert: session 3: 'probe'"
    assert TextFormatter().format(record("Ä 超")) == "usert: Ä 超"


def test_text_is_one_line_too() -> None:
    line = TextFormatter().format(record("stream %s", "a\nusert: forged\x1b[2J\ud800"))
    assert line == "usert: stream a\\nusert: forged\\x1b[2J\\ud800"


def test_printable_text_is_left_alone() -> None:
    for text in ("", "plain", "back\\slash", "Ä 超"):
        assert printable(text) == text


def test_an_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(OptionError, match=r"^log format: got 'xml', expected text or json$"):
        configure("xml")


LOGGING = "import logging, usert.log_format as f; {}; logging.getLogger('usert.x').info('a %s', 'b\\nc')"


@pytest.mark.parametrize("format_", ["text", "json"])
def test_only_a_command_sets_logging_up(format_: str) -> None:
    def stderr(statement: str) -> str:
        code = LOGGING.format(statement)
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr

    assert stderr("pass") == ""
    said = stderr(f"f.configure({format_!r})")
    assert said.count("\n") == 1
    if format_ == "text":
        assert said == "usert: a b\\nc\n"
    else:
        assert json.loads(said)["event"] == "a b\nc"
