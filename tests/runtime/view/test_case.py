"""The case: what an identifier may be, who is asked, and that it is told to nobody else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from browser import MakePage
from eyes import Eyes, eyes, shown
from publishing import Publisher
from websockets.exceptions import ConnectionClosed

from usert.runtime.protocol.age import now_ns
from usert.runtime.view.case import Case, Refusal, read_identifier
from usert.runtime.view.live_page import LivePage

NAME = "Geheim^Zettel 4711"


@pytest.fixture
def page(serve_page: MakePage, publisher: Publisher) -> LivePage:
    served = serve_page(strain=publisher.endpoint)
    publisher.wait()
    return served


@pytest.mark.parametrize(
    ("typed", "identifier"),
    [
        ("  MRN 7 \n", "MRN 7"),
        ("", ""),
        ("x" * 64, "x" * 64),
        ("山田太郎", "山田太郎"),
        ("u\u0308ber", "über"),
        ("<script>\"'../..", "<script>\"'../.."),
        ("\U0001f600" * 64, "\U0001f600" * 64),
    ],
)
def test_an_identifier_is_text_of_any_script(typed: str, identifier: str) -> None:
    assert read_identifier(typed) == identifier


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("x" * 65, "case.too_long"),
        ("x" * 10_000, "case.too_long"),
        ("a\\b", "case.backslash"),
        ("a\x00b", "case.unseen"),
        ("a\nb", "case.unseen"),
        ("a\u202eb", "case.unseen"),
        ("a\ud800b", "case.unseen"),
        ("a\u2028b", "case.unseen"),
        (7, "case.not_text"),
        (None, "case.not_text"),
    ],
)
def test_what_is_none_is_refused_in_a_line_without_it(typed: object, key: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_identifier(typed)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)
    assert str(typed) not in str(caught.value)


def test_every_refusal_has_words() -> None:
    folder = Path(__file__).parents[3] / "runtime" / "view"
    words = json.loads((folder / "static" / "words-en.json").read_text(encoding="utf-8"))
    keys = {
        part.split('"')[0]
        for file in folder.glob("*.py")
        for quote in ('"case.', '"dicom.')
        for part in file.read_text(encoding="utf-8").replace(quote, f"\0{quote[1:]}").split("\0")[1:]
    }
    assert len(keys) > 10
    for key in keys - {"dicom.invalid"}:  # of a page that is not ours
        group, name = key.split(".")
        assert name in words[group], key


def test_a_case_hides_itself() -> None:
    case = Case().next(NAME)
    assert case.number == 2
    assert case.began_ms == pytest.approx(now_ns() / 1e6, abs=1e4)
    assert NAME not in repr(case)


def case_of(one: Eyes, identifier: str) -> dict[str, Any]:
    while True:
        told: dict[str, Any] = one.text("case")
        if told["identifier"] == identifier:
            return told


def test_one_case_for_all_viewers_and_those_who_come_later(page: LivePage, publisher: Publisher) -> None:
    with eyes(page) as first, eyes(page) as second:
        assert case_of(first, "")["number"] == 1
        first.say("case", {"identifier": " one ", "answer": ""})
        told = case_of(second, "one")
        assert case_of(first, "one") == told
        with eyes(page) as third:
            assert third.text("case") == told
        second.say("case", {"identifier": "", "answer": ""})
        assert case_of(first, "")["number"] == told["number"] + 1


def test_images_of_before_are_known_by_their_age(page: LivePage, publisher: Publisher) -> None:
    with eyes(page) as one:
        publisher.send(shown(1))
        before = one.picture()
        one.say("case", {"identifier": "one"})
        began_ms = case_of(one, "one")["began_ms"]
        publisher.send(shown(2))
        after = one.picture()
        assert before is not None
        assert after is not None
        assert before["born_ms"] < began_ms < after["born_ms"]


def test_what_is_not_saved_is_asked_about(page: LivePage) -> None:
    with eyes(page) as one, eyes(page) as other:
        one.say("case", {"identifier": "one"})
        case_of(other, "one")
        other.say("unsaved", True)
        other.say("ping", 1.0)
        other.text("pong")
        one.say("case", {"identifier": "two"})
        asked = one.text("case_question")
        assert asked == {"identifier": "two", "unsaved": 1, "recording": False, "can_keep": False}
        one.say("case", {"identifier": "two", "answer": "clear"})
        assert case_of(other, "two")["number"] == 3


def test_images_without_a_case_can_be_given_one(page: LivePage) -> None:
    with eyes(page) as one:
        one.say("unsaved", True)
        one.say("case", {"identifier": "one"})
        assert one.text("case_question")["can_keep"] is True
        one.say("case", {"identifier": "one", "answer": "keep"})
        assert case_of(one, "one") == {"number": 1, "identifier": "one", "began_ms": 0.0}
        one.say(
            "case", {"identifier": "two", "answer": "keep"}
        )  # of another case nothing is kept: asked again
        assert one.text("case_question")["can_keep"] is False
        one.say("case", {"identifier": "two", "answer": "clear"})
        assert case_of(one, "two")["number"] == 2


def test_keeping_never_clears_what_is_not_saved(page: LivePage) -> None:
    """Two viewers are asked; by the answer of the second, the case has the identifier of the first."""
    with eyes(page) as one, eyes(page) as other:
        one.say("unsaved", True)
        for viewer, identifier in ((one, "one"), (other, "two")):
            viewer.say("case", {"identifier": identifier})
            if viewer is one:
                assert viewer.text("case_question")["can_keep"] is True
        assert other.text("case_question")["can_keep"] is True
        one.say("case", {"identifier": "one", "answer": "keep"})
        case_of(other, "one")
        other.say("case", {"identifier": "two", "answer": "keep"})
        asked = other.text("case_question")
        assert (asked["unsaved"], asked["can_keep"]) == (1, False)


@pytest.mark.parametrize("value", [{"identifier": "x" * 65}, {"identifier": 7}, {}])
def test_a_refused_case_leaves_the_present_one(page: LivePage, value: dict[str, Any]) -> None:
    with eyes(page) as one:
        one.say("case", value)
        assert one.text("case_refused")["key"].startswith("case.")
        one.say("case", {"identifier": ""})
        assert case_of(one, "")["number"] == 1


@pytest.mark.parametrize("value", ["one", 7, None, [["identifier"]]])
def test_who_sends_nonsense_for_a_case_is_cut_off_alone(page: LivePage, value: Any) -> None:
    with eyes(page) as one, eyes(page) as other:
        one.say("case", value)
        with pytest.raises(ConnectionClosed):
            one.text("none such")
        other.say("case", {"identifier": "two"})
        case_of(other, "two")


def test_nothing_personal_is_logged(
    page: LivePage, publisher: Publisher, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    with eyes(page) as one:
        for order in (
            {"identifier": NAME},
            {"identifier": f"{NAME}\\"},
            {"identifier": NAME * 100},
            {NAME: 1},
        ):
            one.say("case", order)
        one.say(NAME, 1)  # and cut off
        with pytest.raises(ConnectionClosed):
            one.text("none such")
    assert "Geheim" not in caplog.text
    assert "Geheim" not in "".join(capfd.readouterr())
    assert NAME not in page.url
