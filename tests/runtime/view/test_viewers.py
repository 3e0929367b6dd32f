"""Browsers as the server sees them, over real WebSockets: newest wins, each for itself."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from browser import MakePage
from eyes import eyes, shown
from live import SCAN
from publishing import Publisher
from websockets.exceptions import ConnectionClosed

from usert.runtime.protocol.age import now_ns
from usert.runtime.protocol.strain_message import Counters
from usert.runtime.view.live_page import LivePage
from usert.runtime.view.viewer import MOST_VIEWERS, WINDOW, Viewer


@pytest.fixture
def page(serve_page: MakePage, publisher: Publisher) -> LivePage:
    served = serve_page(strain=publisher.endpoint)
    publisher.wait()
    return served


def test_it_says_what_it_is_and_then_shows(page: LivePage, publisher: Publisher) -> None:
    with eyes(page) as one:
        about = one.text("about")
        assert about["stale_ms"] == 500
        assert (about["bmode"], about["control"]) == (False, False)
        publisher.send(shown(1))
        header = one.picture()
        assert header is not None
        assert header["current"] == 1
        assert header["extent_mm"] == pytest.approx([64 * SCAN.axial_pitch_mm, 32 * SCAN.line_pitch_mm])
        assert header["soft_strain"] == pytest.approx(0.01)


def test_ages_are_those_of_the_client(page: LivePage, publisher: Publisher) -> None:
    before_ms = now_ns() / 1e6
    with eyes(page) as one:
        message = shown(1)
        publisher.send(message, replace(message, source_clock="elsewhere"))
        found = []
        while not found or found[-1]["exact"]:
            header = one.picture()
            assert header is not None
            found.append(header)
            one.say("got", header["id"])
        assert found[-1]["born_ms"] == pytest.approx(message.received_ns / 1e6, abs=1)
        assert before_ms <= message.received_ns / 1e6
        one.say("ping", 17.5)
        pong = one.text("pong")
        assert pong["ping"] == 17.5
        assert before_ms < pong["now_ms"] <= now_ns() / 1e6


def test_nothing_queues_for_a_slow_browser_and_others_see_all(
    page: LivePage,
    publisher: Publisher,
) -> None:
    with eyes(page) as slow, eyes(page) as fast:
        slow.text("about"), fast.text("about")
        seen = []
        for number in range(1, 41):
            publisher.send(shown(number))
            header = fast.picture()
            assert header is not None
            fast.say("got", header["id"])
            seen.append(header["current"])
        assert seen == list(range(1, 41))
        first = [header["current"] for header in iter(lambda: slow.picture(0.3), None)]
        assert first == [1, 2][:WINDOW]
        slow.say("got", 1)
        newest = slow.picture()
        assert newest is not None
        assert newest["current"] == 40
        slow.say("got", 2)
        assert slow.picture(0.3) is None


def test_who_comes_late_sees_the_newest_at_once(page: LivePage, publisher: Publisher) -> None:
    publisher.send(shown(1), shown(2))
    with eyes(page) as one:
        header = one.picture()
        assert header is not None
    with eyes(page) as late:
        again = late.picture()
        assert again is not None
        assert again["current"] >= header["current"]


def test_every_viewer_has_its_own_regions(page: LivePage, publisher: Publisher) -> None:
    shape = (512, 128)
    strain = np.where(np.arange(128) < 64, 0.004, 0.01) * np.ones((512, 1))
    grids: dict[str, Any] = {
        "strain": strain.astype(np.float32),
        "quality": np.ones(shape, np.float32),
        "displacement": np.zeros((2, *shape), np.float32),
    }
    left, right = (
        {"kind": "ellipse", "depth": [1, 8], "lateral": lateral} for lateral in ([1, 15], [22, 36])
    )
    with eyes(page) as one, eyes(page) as two, eyes(page) as three:
        one.say("regions", {"version": 1, "shapes": [left, right], "reference": 1})
        two.say("regions", {"version": 2, "shapes": [left, right], "reference": 0, "histogram": 0})
        three.say("regions", {"shapes": [left, "nonsense"]})
        assert "region" in three.text("refused")
        publisher.send(shown(1, **grids))
        readings = [viewer.text("reading") for viewer in (one, two)]
        ratios = [reading["ratios"][at]["ratio"] for reading, at in zip(readings, (0, 1), strict=True)]
        assert [round(ratio, 2) for ratio in ratios] == [0.4, 2.5]
        assert [(reading["of"], reading["version"]) for reading in readings] == [(1, 1), (1, 2)]
        assert readings[1]["histogram"]["median"] == pytest.approx(0.004)
        one.say("regions", None)
        one.say("got", 1)
        publisher.send(shown(2, **grids))
        assert one.picture() is not None
        assert one.picture(0.3) is None
        assert not [text for text in one.texts if "reading" in text]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "nonsense",
        '{"unknown": 1}',
        '{"ping": "x"}',
        '{"ping": null}',
        '"x"',
        "[" * 4000,
        '{"got":' + "1" * 5000 + "}",
    ],
)
def test_who_breaks_the_rules_is_cut_off_alone(
    page: LivePage,
    publisher: Publisher,
    message: str,
) -> None:
    with eyes(page) as good, eyes(page) as bad:
        bad.text("about"), good.text("about")
        bad.socket.send(message)
        with pytest.raises(ConnectionClosed):
            bad.picture()
        publisher.send(shown(1))
        assert good.picture() is not None


def test_a_picture_that_cannot_be_sent_ends_its_viewer_with_a_line(
    page: LivePage, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(viewer: Viewer, picture: object) -> None:
        raise ZeroDivisionError("of mine")

    with monkeypatch.context() as patched:
        patched.setattr(Viewer, "_measure", broken)
        for number in (1, 2):
            with eyes(page) as one:
                one.text("about")
                publisher.send(shown(number))
                with pytest.raises(ConnectionClosed) as closed:
                    one.picture(), one.picture()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011
    assert caplog.text.count("browser disconnected (ZeroDivisionError): of mine") == 1
    with eyes(page) as other:
        assert other.picture() is not None


def test_there_is_a_limit_to_how_many_watch(page: LivePage) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_VIEWERS):
            stack.enter_context(eyes(page)).text("about")
        with eyes(page) as one, pytest.raises(ConnectionClosed) as closed:
            one.picture()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013


def test_one_stream_is_shown_and_others_are_named(page: LivePage, publisher: Publisher) -> None:
    with eyes(page) as one:
        one.text("about")
        publisher.send(shown(1, stream="first"))
        header = one.picture()
        assert header is not None
        one.say("got", 1)
        publisher.send(shown(2, stream="second"))
        assert one.picture(0.3) is None
        publisher.send(shown(3, stream="first"))
        header = one.picture()
        assert header is not None
        assert (header["stream"], header["other_streams"]) == ("first", ["second"])


def test_a_server_that_starts_again_is_noticed(page: LivePage, publisher: Publisher) -> None:
    with eyes(page) as one:
        starts = []
        for published in (7, 8, 1, 2):
            counters = Counters(received=9, dropped=0, malformed=0, published=published)
            publisher.send(shown(published, counters=counters))
            header = one.picture()
            assert header is not None
            one.say("got", header["id"])
            starts.append(header["server_starts"])
        assert starts == [1, 1, 2, 2]


def test_records_need_the_control_endpoint(page: LivePage) -> None:
    with eyes(page) as one:
        one.say("record", True)
        assert "--control" in one.text("refused")


def test_whoever_measures_too_much_is_measured_less(
    page: LivePage, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images beyond its share are left out; pictures come all the same, and others are measured."""
    monkeypatch.setattr("usert.runtime.view.viewer.SHARE", 1e-9)
    region = {"kind": "rectangle", "depth": [0.2, 1], "lateral": [1, 8]}
    with eyes(page) as one:
        one.text("about")
        one.say("regions", {"version": 1, "shapes": [region]})
        for number in range(1, 5):
            publisher.send(shown(number))
            assert one.picture() is not None
            one.say("got", number)
        assert [text["reading"]["of"] for text in one.texts if "reading" in text] in ([1], [])


def test_a_viewer_that_is_gone_is_forgotten(page: LivePage, publisher: Publisher) -> None:
    with eyes(page) as one:
        one.text("about")
        one.socket.socket.close()  # no goodbye
    with eyes(page) as two:
        publisher.send(shown(1))
        assert two.picture() is not None
