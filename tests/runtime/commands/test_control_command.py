"""`usert status` and `usert control`, against a real server of commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from control_ends import ANY, serving
from live import TIMEOUT_S, Feed, Source, make_server, running
from secured_publisher import KeyRing

from usert.cli import main
from usert.commands.status import card
from usert.errors import EngineError
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.commands import (
    ChangeBundle,
    ClearRegions,
    Command,
    Compare,
    Freeze,
    Quit,
    Resume,
    SetRegions,
    StartRecord,
    StopRecord,
)


class Clerk:
    """Answers what the test says, and keeps what was asked."""

    def __init__(self, result: dict[str, Any] | None = None, error: Exception | None = None) -> None:
        self._result = result or {}
        self._error = error
        self.asked: list[Command] = []

    def __call__(self, command: Command) -> Future[Any]:
        future: Future[Any] = Future()
        self.asked.append(command)
        if self._error is not None and command.name != "status":
            future.set_exception(self._error)
        else:
            future.set_result(self._result)
        return future


@pytest.fixture
def usert(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line in this process: exit code, stdout, stderr."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["usert", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


def names(status: str) -> list[str]:
    """What stands before the values of a card, line by line."""
    return [line.strip().partition("  ")[0] for line in status.splitlines()]


def test_usert_status_of_a_live_server_is_a_card_or_json(usert: Any, engine: Engine, source: Source) -> None:
    with (
        running(make_server(engine, source, control=ANY)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        Feed(source, client).prime()
        code, text, errors = usert("status", "--control", server.control_endpoint, "--json")
        assert (code, errors) == (0, "")
        code, shown, errors = usert("status", "--control", server.control_endpoint)
        assert (code, errors) == (0, "")
    status = json.loads(text)
    assert status["frames"]["received"] == source.frames
    assert [stream["stream"] for stream in status["streams"]] == ["test"]
    assert re.search(rf"^  received +{source.frames}$", shown, re.MULTILINE)
    assert re.search(r"^ +stream +test$", shown, re.MULTILINE)
    assert names(shown) == names(card(status))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"sound_speed_m_s": 1540.0}, "sound speed  1540 m/s"),
        ({"fs_hz": 40e6}, "fs  40000000 Hz"),
        ({"images_per_s": 24.98}, "images  24.98 /s"),
        ({"uptime_s": 12.34}, "uptime  12.34 s"),
        ({"mean_strain": -0.0123}, "mean strain  -1.23 %"),
        ({"recording": None, "frozen": False}, "recording  none\nfrozen     no"),
        ({"streams": {"probe": {"warnings": ["a", "b"]}}}, "streams\n  probe\n    warnings  a, b"),
        ({"age_ms": None}, "age  none"),
        ({"age_ms": float("inf")}, "age  inf ms"),
        ({"size_bytes": 12}, "size  12 B"),
        ({"depth_mm": [10, 14.5]}, "depth mm  10, 14.5"),
        ({"engine": "\x1b[31mred\n"}, "engine  ?[31mred?"),
        ({"a\nb": {"c": 1}}, "a?b\n  c  1"),
        ({"pairs": [{"lag": 1}, {"lag": 2}]}, "pairs 1\n  lag  1\npairs 2\n  lag  2"),
        ({"empty": {}, "none": [], "name": ""}, "empty  none\nnone   none\nname   none"),
    ],
)
def test_a_card_shows_whatever_there_is(fields: dict[str, Any], expected: str) -> None:
    assert card(fields) == expected


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("freeze",), Freeze()),
        (("resume", "--stream", "probe"), Resume(stream="probe")),
        (
            ("roi", "10:14.5,3:8", "10:14.5,20:25"),
            SetRegions(target="10:14.5,3:8", background="10:14.5,20:25"),
        ),
        (("roi-clear",), ClearRegions()),
        (("record", "records"), StartRecord(path="records")),
        (
            ("record", "a.h5", "--displacement"),
            StartRecord(path="a.h5", displacement=True),
        ),
        (("record-stop",), StopRecord()),
        (
            ("bundle", "new", "--engine", "onnxruntime", "--precision", "float16"),
            ChangeBundle(path="new", engine="onnxruntime", precision="float16"),
        ),
        (("compare", "--stream", "probe"), Compare(stream="probe")),
        (("quit",), Quit()),
    ],
)
def test_usert_control_sends_the_command(usert: Any, words: tuple[str, ...], command: Command) -> None:
    with serving(clerk := Clerk()) as (server, _):
        ended = usert("control", *words, "--control", server.endpoint)
    assert ended == (0, f"control: {command.name} done\n", "")
    assert clerk.asked[-1] == command


def test_usert_control_prints_what_came_of_it(usert: Any) -> None:
    with serving(Clerk({"path": "records/1.h5", "free_bytes": 12})) as (server, _):
        ended = usert("control", "record", "records", "--control", server.endpoint)
    assert ended == (0, "control: record done\npath  records/1.h5\nfree  12 B\n", "")


def test_a_refusal_is_one_line_and_exit_code_1(usert: Any) -> None:
    with serving(Clerk(error=EngineError("bundle: got new, which has no graph"))) as (server, _):
        ended = usert("control", "bundle", "new", "--control", server.endpoint)
    assert ended == (1, "", "usert: bundle: got new, which has no graph\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("status", "--control", "tcp://192.0.2.1:1"), "usert keys make"),
        (("status", "--control", "nowhere"), "expected tcp://HOST:PORT"),
        (("control", "freeze", "--control", ANY, "--key", "a"), "got --key alone"),
        (("control", "quit", "--control", "tcp://192.0.2.1:1"), "usert keys make"),
        (("control", "roi", "deep", "1:2,3:4", "--control", ANY), "roi: target: got 'deep'"),
        (("control", "record", "p" * 1025, "--control", ANY), "expected a string of 1 to 1024"),
        (("control", "record", "", "--control", ANY), "record: path: got '', expected"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    usert: Any, words: tuple[str, ...], expected: str
) -> None:
    code, output, errors = usert(*words)
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert expected in errors


def test_with_keys(usert: Any, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    ring.allow("console")
    keys = ("--key", ring.secret("console"), "--server-key", ring.public("server"))
    with serving(Clerk({"a": 1}), ring.server()) as (server, _):
        assert usert("status", "--control", server.endpoint, *keys) == (0, "a  1\n", "")
        ended = usert("control", "freeze", "--control", server.endpoint, *keys)
        assert ended == (0, "control: freeze done\na  1\n", "")


def test_in_a_process_of_its_own_a_server_that_is_not_there_is_one_line() -> None:
    command = [sys.executable, "-m", "usert", "control", "bundle", "new", "--control", "tcp://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"usert: no answer from tcp://127\.0\.0\.1:1 in 5 s: nobody listens there.*--control.*\n", done.stderr
    )


def test_the_commands_load_nothing_heavy_before_they_run() -> None:
    script = (
        "import sys, usert.commands.control, usert.commands.status\n"
        "print(sorted({'zmq', 'numpy', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
