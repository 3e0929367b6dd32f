"""A live server whose engine runs several pairs at once: real sockets, and gates that the test opens in any order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from gated_pairs import AT_ONCE, Gates
from live import (
    TIMEOUT_S,
    Feed,
    Source,
    books_balance,
    make_server,
    numbered_message,
    received_frame,
    running,
    wait_until,
)
from tiny_bundle import STRAIN, other_bundle

from usert.bundle import Bundle
from usert.errors import EngineError, FrameError
from usert.runtime.clients.control_client import ControlClient
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines import open_engine
from usert.runtime.engines.following import FollowingEngine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.image_quality import ImageQualityRule
from usert.runtime.monitor.health import Health
from usert.runtime.protocol.age import clock_id, now_ns
from usert.runtime.protocol.commands import ChangeBundle
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.engine_runner import EngineRunner
from usert.runtime.server.pairs_under_way import PairsUnderWay
from usert.runtime.server.server import StrainServer
from usert.runtime.server.stream import Stream


@dataclass
class Live:
    server: StrainServer
    engine: Gates
    feed: Feed
    client: StrainClient


@contextmanager
def serving(engine: Engine, source: Source, **changes: Any) -> Iterator[Live]:
    gates = Gates(engine)
    with (
        running(make_server(gates, source, **changes)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        feed = Feed(source, client)
        feed.prime()
        gates.closed = True
        try:
            yield Live(server, gates, feed, client)
        finally:
            gates.open_all()


@pytest.fixture
def live(engine: Engine, source: Source) -> Iterator[Live]:
    with serving(engine, source) as opened:
        yield opened


def test_pairs_are_published_in_the_order_of_their_frames_whichever_ends_first(engine: Engine) -> None:
    gates, published, ended = Gates(engine), [], threading.Semaphore(0)
    gates.closed = True
    runner = EngineRunner(gates, quality_rule=ImageQualityRule())
    stream = Stream(ServerConfig(rf="tcp://127.0.0.1:1", publish="tcp://127.0.0.1:0"))
    messages = [numbered_message(sequence) for sequence in range(4)]
    frames = [received_frame(message) for message in messages]
    pairs = PairsUnderWay(
        runner,
        publish=lambda _, pair: published.append(pair.result().current.frame.sequence),
        ended=ended.release,
    )
    with closing(pairs):
        for first, second in pairwise(frames[:3]):
            pairs.start_pair(stream, first, second)
        assert not pairs.has_room(0)
        gates.gate_of(messages[2]).opened.set()
        assert ended.acquire(timeout=TIMEOUT_S)
        assert not pairs.has_room(0)
        assert published == []
        gates.gate_of(messages[1]).opened.set()
        assert ended.acquire(timeout=TIMEOUT_S)
        assert pairs.has_room(TIMEOUT_S)
        assert published == [1, 2]
        pairs.start_pair(stream, *frames[2:])
        gates.open_all()
        pairs.finish()
        assert published == [1, 2, 3]


def test_no_image_passes_one_whose_pair_still_runs(live: Live) -> None:
    gate = live.engine.gate_of(live.feed.next())
    before = live.server.counts.published
    live.engine.gate_of(live.feed.next()).opened.set()
    assert live.client.receive(0.2) is None
    assert live.server.counts.published == before
    gate.opened.set()
    wait_until(lambda: live.server.counts.published == before + 2)


def test_no_more_pairs_run_than_the_engine_allows_and_the_newest_frame_is_next(live: Live) -> None:
    messages = []
    for _ in range(AT_ONCE):
        messages.append(live.feed.next())
        live.engine.gate_of(messages[-1])
    received, dropped = live.server.counts.frames.received, live.server.counts.frames.dropped
    later = [live.feed.next() for _ in range(4)]
    wait_until(lambda: live.server.counts.frames.received == received + 4)
    assert len(live.engine.entered) == AT_ONCE
    for message in (*messages, later[-1]):
        live.engine.gate_of(message).opened.set()
        assert live.feed.image().current.sequence == message.frame.sequence
    assert live.server.counts.frames.dropped == dropped + 3
    wait_until(lambda: books_balance(live.server))


def test_a_pair_that_fails_beside_another_costs_its_own_image_alone(live: Live) -> None:
    first, second = (live.feed.next(),), None
    gate = live.engine.gate_of(first[0])
    second = live.feed.next()
    live.engine.gate_of(second).opened.set()
    gate.fault = EngineError("out of order")
    gate.opened.set()
    assert live.feed.image().current.sequence == second.frame.sequence
    assert live.server.counts.failed == {"EngineError": 1}


def test_frames_that_the_engine_refuses_before_it_runs_cost_their_own_images_alone(
    engine: Engine, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(engine, source) as live:
        live.engine.closed = False
        fault = FrameError("f0: got 1 Hz, expected more")

        def refused(*_: Any) -> Any:
            raise fault

        with monkeypatch.context() as patch:
            patch.setattr(live.engine, "at_once", refused)
            patch.setattr(live.engine, "run", refused)
            live.feed.next()
            wait_until(lambda: live.server.counts.failed == {"FrameError": 1})
        sent = live.feed.next()
        assert live.feed.image().current.sequence == sent.frame.sequence


def test_the_newest_frame_has_the_last_word_on_why_there_is_no_image(live: Live) -> None:
    last = live.feed.next()
    gate = live.engine.gate_of(last)
    (stream,) = live.server._streams.values()
    far, beside = (
        numbered_message(last.frame.sequence + k, clock=clock_id(), time_ns=last.frame.time_ns + k)
        for k in (50, 51)
    )
    unpaired = live.server.counts.unpaired
    live.feed.source.send(far)
    wait_until(lambda: live.server.counts.unpaired == unpaired + 1)
    assert stream.no_image.startswith("no pair is allowed: got frames 50")
    gate.opened.set()
    assert live.feed.image().current.sequence == last.frame.sequence
    assert stream.no_image.startswith("no pair is allowed: got frames 50")
    live.feed.source.send(beside)
    live.engine.gate_of(beside).opened.set()
    assert live.feed.image().current.sequence == beside.frame.sequence
    assert stream.no_image == ""


def test_a_session_begins_after_the_last_image_of_the_one_before(live: Live) -> None:
    last = live.feed.next()
    gate = live.engine.gate_of(last)
    other = replace(last.frame.scan, line_pitch_mm=0.5)
    sequences = (last.frame.sequence + 1, last.frame.sequence + 2)
    received = live.server.counts.frames.received
    for sequence in sequences:
        message = numbered_message(sequence, clock=clock_id(), time_ns=last.frame.time_ns + sequence)
        live.feed.source.send(replace(message, frame=replace(message.frame, scan=other)))
        received += 1
        wait_until(lambda received=received: live.server.counts.frames.received == received)
    assert live.client.receive(0.1) is None
    gate.opened.set()
    before = live.feed.image()
    live.engine.gate_of(message).opened.set()
    after = live.feed.image()
    assert (before.session, after.session) == (before.session, before.session + 1)
    assert before.current.sequence == last.frame.sequence
    assert after.scan.line_pitch_mm == 0.5


def test_another_bundle_waits_for_the_pairs_under_way_of_an_engine_that_follows(
    engine: Engine, bundle: Bundle, source: Source, tmp_path: Path
) -> None:
    gates, other = Gates(engine), other_bundle(tmp_path / "other", strain=2 * STRAIN)
    server = StrainServer(
        engine=FollowingEngine(gates),
        config=ServerConfig(
            rf=source.endpoint, rf_type="pull", publish="tcp://127.0.0.1:0", control="tcp://127.0.0.1:0"
        ),
        weights_hash="abc",
        bundle=bundle.folder,
        open_bundle=lambda bundle, *_: FollowingEngine(open_engine(bundle, threads=1)),
    )
    with running(server), StrainClient(server.publish_endpoint) as client, ThreadPoolExecutor(1) as pool:
        assert server.control_endpoint is not None
        feed = Feed(source, client)
        feed.prime()
        gates.closed = True
        try:
            waiting = [gates.gate_of(feed.next()) for _ in range(AT_ONCE)]
            with ControlClient(server.control_endpoint) as console:
                change = pool.submit(console.ask, ChangeBundle(path=str(other.folder)))
                assert client.receive(0.5) is None
                assert not change.done()
                for gate in reversed(waiting):
                    gate.opened.set()
                shown = [feed.image()]
                while (
                    shown[-1].current.sequence < feed.sequence
                ):  # a client that is late is shown the newest alone
                    shown.append(feed.image())
                assert change.result(TIMEOUT_S)["bundle"] == str(other.folder)
        finally:
            gates.open_all()
        assert [image.current.sequence for image in shown] == [feed.sequence - 1, feed.sequence][
            -len(shown) :
        ]
        assert {image.mean_strain for image in shown} == {STRAIN}
        feed.next()
        assert feed.image().mean_strain == 2 * STRAIN


def test_an_engine_that_hangs_beside_a_loop_that_turns_is_stuck(engine: Engine, source: Source) -> None:
    gates, health = Gates(engine), Health(now_ns())
    config = ServerConfig(rf=source.endpoint, rf_type="pull", publish="tcp://127.0.0.1:0")
    server = StrainServer(engine=gates, config=config, weights_hash="abc", health=health)
    with running(server), StrainClient(server.publish_endpoint) as client:
        feed = Feed(source, client)
        feed.prime()
        wait_until(lambda: health.report(now_ns() + 10**9).status == "ok")
        gates.closed = True
        gate = gates.gate_of(feed.next())
        turned_ns = now_ns()
        wait_until(lambda: now_ns() - turned_ns > 3 * 10**8)  # the loop turns all the while
        assert health.report(turned_ns + 6 * 10**9).status == "stuck"
        gate.opened.set()
        feed.image()
        wait_until(lambda: health.report(now_ns() + 10**9).status == "ok")
        gates.open_all()


def test_what_runs_when_the_server_is_told_to_stop_is_published(live: Live) -> None:
    message = live.feed.next()
    gate = live.engine.gate_of(message)
    live.server.stop()
    gate.opened.set()
    assert live.feed.image().current.sequence == message.frame.sequence


def test_every_frame_has_its_image_in_order(engine: Engine, source: Source) -> None:
    with serving(engine, source, every_frame=16) as live:
        live.engine.closed = False
        before = live.server.counts.published
        for _ in range(40):
            live.feed.next()
        wait_until(lambda: live.server.counts.published == before + 40)
        shown = []  # a client that reads slowly loses some
        while (image := live.client.receive(0.2)) is not None:
            shown.append(image.current.sequence)
        assert shown
        assert shown == sorted(set(shown))
        assert books_balance(live.server)
