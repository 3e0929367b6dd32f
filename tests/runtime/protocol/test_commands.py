"""Commands and replies, held by golden bytes, and what is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from usert.errors import WireError
from usert.runtime.protocol.commands import (
    COMMANDS,
    MAX_CASE,
    MAX_ERROR,
    MAX_PATH,
    Command,
    Freeze,
    Reply,
    SetRegions,
    StartRecord,
    Status,
    read_command,
)
from usert.runtime.protocol.header import MAX_HEADER_BYTES, MAX_PARTS, MalformedError

GOLDEN_STATUS = b'{"usert":1,"kind":"command","command":"status"}'
GOLDEN_ROI = (
    b'{"usert":1,"kind":"command","command":"roi","target":"10:14.5,3:8","background":"10:14.5,20:25",'
    b'"stream":"probe"}'
)
GOLDEN_RECORD = b'{"usert":1,"kind":"command","command":"record","path":"b\\u00fchne.h5","displacement":true}'
GOLDEN_OK = b'{"usert":1,"kind":"reply","command":"record","ok":true,"result":{"record":"records/1.h5"}}'
GOLDEN_REFUSED = (
    b'{"usert":1,"kind":"reply","command":"record","ok":false,"error":"record: a record is being written"}'
)
COMMANDS_SENT = (
    (Status(), GOLDEN_STATUS),
    (
        SetRegions(target="10:14.5,3:8", background="10:14.5,20:25", stream="probe"),
        GOLDEN_ROI,
    ),
    (StartRecord(path="bühne.h5", displacement=True), GOLDEN_RECORD),
)
REPLIES_SENT = (
    (Reply(command="record", result={"record": "records/1.h5"}), GOLDEN_OK),
    (Reply(command="record", error="record: a record is being written"), GOLDEN_REFUSED),
)
FULL: dict[str, Any] = {
    "stream": "s" * 256,
    "target": "1:2,3:4",
    "background": "1:2,5:6",
    "path": "\U0001f600" * MAX_PATH,
    "displacement": True,
    "case": "\U0001f600" * MAX_CASE,
    "engine": "\U0001f600" * 32,
    "precision": "\U0001f600" * 32,
}
"""Every argument, as long as it may be, of characters that take the most bytes."""


def command(name: str, **arguments: Any) -> list[bytes]:
    fields = {"usert": 1, "kind": "command", "command": name, **arguments}
    return [json.dumps(fields).encode()]


def fault_of(parts: Any, read: Callable[[Any], Command | Reply] = read_command) -> str:
    with pytest.raises(WireError) as caught:
        read(parts)
    assert isinstance(caught.value, MalformedError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return caught.value.fault


@pytest.mark.parametrize(("message", "golden"), [*COMMANDS_SENT, *REPLIES_SENT])
def test_a_message_is_the_golden_bytes_and_is_read_back(message: Command | Reply, golden: bytes) -> None:
    assert message.to_parts() == [golden]
    read = Reply.from_parts if isinstance(message, Reply) else read_command
    assert read([golden]) == message


def test_the_specification_shows_the_golden_bytes_and_every_argument() -> None:
    page = Path(__file__).parents[3].joinpath("docs", "protocol.md").read_text(encoding="utf-8")
    shown = page.replace("\n", "")
    for _, golden in (*COMMANDS_SENT, *REPLIES_SENT):
        assert golden.decode() in shown
    for name, kind in COMMANDS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert all(f"`{argument.name}`" in row for argument in fields(kind))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_its_own_arguments_alone(name: str) -> None:
    kind = COMMANDS[name]
    known = {argument.name: argument.default for argument in fields(kind)}
    needed = {key: FULL[key] for key, default in known.items() if default is MISSING}
    assert read_command(command(name, **needed)) == kind(**needed)
    whole = kind(**{key: FULL[key] for key in known})
    parts = whole.to_parts()
    assert len(parts[0]) <= MAX_HEADER_BYTES
    assert read_command(parts) == whole
    for key, value in FULL.items():
        if key in needed:
            without = needed.keys() - {key}
            assert fault_of(command(name, **{other: FULL[other] for other in without})) == "field"
            assert fault_of(command(name, **(needed | {key: ""}))) == "field"
        elif key not in known:
            with pytest.raises(WireError, match=f"{name}: unknown key {key}, expected"):
                read_command(command(name, **needed, **{key: value}))


def test_arguments_that_are_empty_are_as_if_not_given() -> None:
    assert read_command(command("freeze", stream="")) == Freeze()
    assert StartRecord(path="a", displacement=False).to_parts() == [
        b'{"usert":1,"kind":"command","command":"record","path":"a"}'
    ]


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("parts", []),
        ("parts", [GOLDEN_STATUS, b""]),
        ("parts", [GOLDEN_STATUS] * (MAX_PARTS + 1)),
        ("header", [b""]),
        ("header", [b"\xff"]),
        ("header", [b"[" * MAX_HEADER_BYTES]),
        ("header", [b" " * (MAX_HEADER_BYTES + 1)]),
        ("version", [GOLDEN_STATUS.replace(b":1", b":2")]),
        ("kind", [GOLDEN_OK]),
        ("field", [b'{"usert":1,"kind":"command"}']),
        ("field", command("dance")),
        ("field", command("Status")),
        ("field", [GOLDEN_STATUS.replace(b'"status"', b'["status"]')]),
        ("field", command("status", verbose=True)),
        ("field", command("freeze", stream=None)),
        ("field", command("freeze", stream=1)),
        ("field", command("freeze", stream="s" * 257)),
        ("field", command("freeze", stream="a\nb")),
        ("field", command("record", path="p" * (MAX_PATH + 1))),
        ("field", command("record", path="a\0b")),
        ("field", command("record", path="\ud800")),
        ("field", command("record", path="\x1b[2J")),
        ("field", command("record", path="p", displacement="yes")),
        ("field", command("record", path="p", displacement=1)),
        ("field", command("bundle", path="p", engine="e" * 33)),
        ("field", command("roi", target="1:2,3:4")),
        ("field", command("roi", target="1:2,3:4", background="1:2")),
        ("field", command("roi", target="1:2,4:3", background="1:2,3:4")),
        ("field", command("roi", target="1:2,3:4", background="nan:2,3:4")),
        ("field", command("roi", target="1:2,3:4", background=f"1:2,3:{'9' * 60}")),
        ("field", command("roi", target=[1, 2], background="1:2,3:4")),
    ],
)
def test_a_broken_command_is_refused_by_kind_of_fault(fault: str, parts: list[bytes]) -> None:
    assert fault_of(parts) == fault


def test_a_refusal_says_what_was_expected() -> None:
    for parts, expected in (
        (command("dance"), "command: got 'dance', expected status, roi, roi-clear, freeze"),
        (command("quit", now=True), "quit: unknown key now, expected none"),
        (command("record"), "record: key path is missing"),
        (command("record", path=""), "record: path: got '', expected a string of 1 to 1024"),
        (command("bundle", path="p", threads=2), "bundle: unknown key threads, expected path, engine, prec"),
        (command("roi", target="deep", background="1:2,3:4"), "roi: target: got 'deep', expected depth,lat"),
        (command("record", path="p" * 2000), "expected a string of 1 to 1024 characters"),
    ):
        with pytest.raises(WireError) as caught:
            read_command(parts)
        assert expected in str(caught.value)


def test_what_a_person_gives_is_checked_as_what_a_socket_brings() -> None:
    for arguments in ({"path": "p" * 2000}, {"path": "a\nb"}, {"path": ""}):
        with pytest.raises(WireError, match=r"record: path: "):
            StartRecord(**arguments)
    with pytest.raises(WireError, match=r"roi: background: "):
        SetRegions(target="1:2,3:4", background="2:1,3:4")


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("field", {"command": None}),
        ("field", {"ok": 1}),
        ("field", {"ok": "true"}),
        ("field", {"result": [1]}),
        ("field", {"ok": False}),
        ("field", {"ok": False, "error": ""}),
        ("field", {"ok": False, "error": "two\nlines"}),
        ("field", {"ok": False, "error": "e" * (MAX_ERROR + 1)}),
        ("kind", {"kind": "command"}),
    ],
)
def test_a_broken_reply_is_refused(fault: str, changes: dict[str, Any]) -> None:
    parts = [json.dumps(json.loads(GOLDEN_OK) | changes).encode()]
    assert fault_of(parts, Reply.from_parts) == fault


def test_keys_of_a_newer_server_are_ignored() -> None:
    parts = [json.dumps(json.loads(GOLDEN_OK) | {"took_ms": 3}).encode()]
    assert Reply.from_parts(parts) == REPLIES_SENT[0][0]


def test_whatever_is_said_a_refusal_is_one_line_that_can_be_sent() -> None:
    for said in ("two\nlines", "", "\x1b[2J\ud800\0", "\U0001f600" * 5000):
        reply = Reply.refusal("record", said)
        assert not reply.ok
        assert Reply.from_parts(reply.to_parts()) == reply
    assert Reply.refusal("record", "two\n  lines").error == "two lines"


def test_a_result_that_cannot_be_sent_is_a_programmers_mistake() -> None:
    for result in ({"a": float("nan")}, {"a": b""}, {"a": "x" * MAX_HEADER_BYTES}):
        with pytest.raises((ValueError, TypeError)):
            Reply(command="status", result=result).to_parts()
    for given in ({}, {"result": {}, "error": "e"}):
        with pytest.raises(ValueError, match=r"^reply: expected .*result.* error"):
            Reply(command="status", **given)  # type: ignore[arg-type]


def test_every_truncation_and_every_flipped_byte_is_refused() -> None:
    for messages, read in ((COMMANDS_SENT, read_command), (REPLIES_SENT, Reply.from_parts)):
        for _, golden in messages:
            for place in range(len(golden)):
                fault_of([golden[:place]], read)
                fault_of([golden[:place] + b"\x9c" + golden[place + 1 :]], read)


def test_mutated_messages_are_refused_by_kind_of_fault_or_read() -> None:
    """Whatever a header holds, nothing but a `MalformedError` comes out."""
    rng = random.Random(0)
    strange = [None, True, -1, 1.5, 10**30, "x", "", [], {}, "\ud800", "y" * 300, "status", "1:2,3:4"]
    goldens: list[tuple[bytes, Callable[[Any], object]]] = [
        (golden, read_command) for _, golden in COMMANDS_SENT
    ]
    goldens += [(golden, Reply.from_parts) for _, golden in REPLIES_SENT]
    refused = 0
    for _ in range(3000):
        golden, read = rng.choice(goldens)
        header = json.loads(golden)
        header[rng.choice([*header, "stream", "more"])] = rng.choice(strange)
        try:
            read([json.dumps(header).encode()])
        except MalformedError:
            refused += 1
    assert 1500 < refused < 3000
