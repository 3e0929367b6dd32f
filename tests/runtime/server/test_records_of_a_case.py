"""Records that the page starts: with the case in them and nowhere else, and none spans two."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from control_room import Room
from eyes import eyes
from live import TIMEOUT_S, running, wait_until

from usert.errors import OptionError
from usert.runtime.protocol.commands import Status
from usert.runtime.record.contents import Record
from usert.runtime.view.address import Address
from usert.runtime.view.live_page import LivePage, PageConfig

NAME = "Geheim 4711"


def page_of(room: Room) -> LivePage:
    """A page that records by the room's server."""
    return LivePage(
        PageConfig(
            strain=room.server.publish_endpoint,
            control=room.server.control_endpoint,
            http=Address.parse("127.0.0.1:0"),
        )
    )


def test_the_case_is_in_the_record_and_a_new_case_ends_it(
    room: Room, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = room.image()
    page = page_of(room)
    assert before is not None
    with running(page), eyes(page) as one:
        one.say("case", {"identifier": NAME})
        while one.text("case")["identifier"] != NAME:
            pass
        one.say("record", True)
        wait_until(lambda: room.server.recorder is not None)
        room.image()
        assert "Geheim" not in json.dumps(room.ask("status"))
        one.say("case", {"identifier": "next"})
        assert one.text("case_question")["recording"] is True
        one.say("case", {"identifier": "next", "answer": "clear"})
        while one.text("case")["identifier"] != "next":
            pass
        assert room.server.recorder is None
    (path,) = folder.iterdir()
    with Record(path) as record:
        assert record.attributes["case"] == NAME
        assert len(record.images)
    assert "Geheim" not in path.name
    assert "Geheim" not in caplog.text


def test_a_record_that_cannot_be_ended_keeps_the_case(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.image()
    page = page_of(room)

    def stuck() -> None:
        raise OptionError("the disk is gone")

    with running(page), eyes(page) as one:
        one.say("record", True)
        wait_until(lambda: room.server.recorder is not None)
        room.image()
        with monkeypatch.context() as patch:
            patch.setattr(room.server._switch, "_stop", stuck)
            one.say("case", {"identifier": "next", "answer": "clear"})
            told = one.text("case_refused")
        assert told["key"] == "case.record_goes_on"
        assert "the disk is gone" in told["values"]["reason"]
        one.say("case", {"identifier": ""})
        while one.text("case")["number"] != 1:
            pass
        room.ask("record-stop")


def test_while_a_record_ends_nothing_else_begins(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.image()
    page = page_of(room)
    stop, begun, go_on = room.server._switch._stop, threading.Event(), threading.Event()

    def slow() -> Any:
        begun.set()
        assert go_on.wait(TIMEOUT_S)
        return stop()

    with running(page), eyes(page) as one, eyes(page) as other:
        one.say("record", True)
        wait_until(lambda: room.server.recorder is not None)
        room.image()
        monkeypatch.setattr(room.server._switch, "_stop", slow)
        try:
            one.say("case", {"identifier": "next", "answer": "clear"})
            assert begun.wait(TIMEOUT_S)
            other.say("record", True)
            assert "being ended" in other.text("refused")
            other.say("case", {"identifier": "another", "answer": "clear"})
            assert other.text("case_refused")["key"] == "case.changing"
        finally:
            go_on.set()
        while (told := one.text("case"))["identifier"] != "next":
            pass
        assert told["number"] == 2
        assert room.server.recorder is None


def test_what_a_server_that_does_not_answer_records_runs_on(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.image()
    page = page_of(room)

    def silent(command: Any) -> Any:
        raise OptionError("control: no answer")

    with running(page), eyes(page) as one:
        one.say("record", True)
        wait_until(lambda: room.server.recorder is not None)
        room.image()
        while not (told := one.text("record"))["running"]:
            pass
        with monkeypatch.context() as patch:
            patch.setattr(page._control, "ask", silent)
            while not told.get("error"):
                told = one.text("record")
            one.say("case", {"identifier": "next"})
            assert one.text("case_question")["recording"]
            one.say("case", {"identifier": "next", "answer": "clear"})
            assert one.text("case_refused")["key"] == "case.record_goes_on"
        room.ask("record-stop")


def test_what_was_ended_does_not_run_though_the_server_answers_no_more(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.image()
    page = page_of(room)
    ask = page._control.ask

    def ends(command: Any) -> Any:
        if isinstance(command, Status):
            raise OptionError("control: no answer")
        return ask(command)

    with running(page), eyes(page) as one:
        one.say("record", True)
        wait_until(lambda: room.server.recorder is not None)
        room.image()
        monkeypatch.setattr(page._control, "ask", ends)
        one.say("case", {"identifier": "next", "answer": "clear"})
        while one.text("case")["identifier"] != "next":
            pass
        one.say("case", {"identifier": "after"})
        while one.text("case")["identifier"] != "after":
            pass


def test_a_record_without_a_case_says_nothing_of_one(room: Room, folder: Path) -> None:
    room.ask("record", path="plain.h5")
    room.image()
    room.ask("record-stop")
    with Record(folder / "plain.h5") as record:
        assert "case" not in record.attributes
