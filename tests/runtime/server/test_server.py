"""The live server over real sockets, with a real engine: pairs, times, drops, sessions."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from live import (
    SHAPE,
    TIMEOUT_S,
    Feed,
    GatedEngine,
    Source,
    books_balance,
    make_server,
    numbered_message,
    running,
    wait_until,
)
from tiny_bundle import QUALITY, STRAIN

from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.pairing import PairingRule
from usert.runtime.server.server import StrainServer


def test_an_image_is_that_of_its_two_frames(server: StrainServer, feed: Feed) -> None:
    first = feed.next()
    feed.image()
    second = feed.next()
    image = feed.image()
    assert (image.reference.sequence, image.current.sequence) == (
        first.frame.sequence,
        second.frame.sequence,
    )
    assert image.current.time_ns == second.frame.time_ns
    assert image.current.acquired_ns == second.frame.acquired_ns
    change = second.frame.samples.astype(np.float32) - first.frame.samples
    np.testing.assert_array_equal(image.displacement[1], change)
    np.testing.assert_array_equal(image.strain, np.full(SHAPE, STRAIN, np.float32))
    assert (image.mean_strain, image.mean_quality) == (STRAIN, QUALITY)
    assert (image.stream, image.state, image.weights_hash) == ("test", "live", "abc")
    assert image.scan == second.frame.scan


def test_times_are_in_order_and_age_is_exact_on_one_machine(feed: Feed) -> None:
    feed.next()
    image = feed.image()
    times = [
        image.current.time_ns,
        image.received_ns,
        image.matched_ns,
        image.started_ns,
        image.published_ns,
    ]
    assert times == sorted(times)
    age = feed.client.age
    assert age is not None
    assert age.exact
    assert age.ms >= (image.published_ns - image.current.time_ns) / 1e6
    assert age.ms < 1e3 * TIMEOUT_S


def test_the_books_balance(server: StrainServer, feed: Feed) -> None:
    for _ in range(20):
        feed.next()
    wait_until(lambda: server.counts.frames.received == feed.source.frames and books_balance(server))
    counts = server.counts
    assert counts.published + counts.frames.dropped + counts.unpaired == feed.source.frames
    assert counts.frames.sessions == 1
    assert counts.frames.lost == 0
    assert server.output.count == counts.published
    assert server.output.age_p50_ms <= server.output.age_p99_ms
    assert f"{feed.source.frames} frames received" in counts.summary(server.output)


def test_the_newest_frame_wins_while_the_engine_is_busy(engine: Engine, source: Source) -> None:
    gated = GatedEngine(engine)
    with (
        running(make_server(gated, source)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        source.send(numbered_message(0))
        wait_until(lambda: server.counts.unpaired == 1)
        source.send(numbered_message(1))
        assert gated.entered.acquire(timeout=TIMEOUT_S)
        source.send(*(numbered_message(k) for k in range(2, 10)))
        wait_until(lambda: server.counts.frames.received == 10)
        gated.gate.release()
        assert gated.entered.acquire(timeout=TIMEOUT_S)
        wait_until(lambda: server.counts.published == 1)
        assert server.counts.frames.dropped == 7
        next_sequence = 10
        while client.receive(0.05) is None:  # until the client is known to hear
            gated.gate.release(1)
            source.send(numbered_message(next_sequence))
            next_sequence += 1
        gated.gate.release(1000)
        source.send(numbered_message(next_sequence))
        image = client.receive(TIMEOUT_S)
        assert image is not None
        assert image.reference.sequence == image.current.sequence - 1
        wait_until(lambda: books_balance(server))


def test_the_lag_chooses_the_reference_even_among_dropped_frames(engine: Engine, source: Source) -> None:
    gated = GatedEngine(engine)
    with running(make_server(gated, source, pairing=PairingRule(lag=3, max_gap_frames=0))) as server:
        source.send(numbered_message(0))
        wait_until(lambda: server.counts.unpaired == 1)
        source.send(*(numbered_message(k) for k in range(1, 4)))
        assert gated.entered.acquire(timeout=TIMEOUT_S)
        source.send(*(numbered_message(k) for k in range(4, 9)))
        wait_until(lambda: server.counts.frames.received == 9)
        with StrainClient(server.publish_endpoint) as client:
            sequence = 9
            while (image := client.receive(0.05)) is None:
                gated.gate.release()
                source.send(numbered_message(sequence))
                sequence += 1
            gated.gate.release(1000)
            assert image.current.sequence - image.reference.sequence == 3


def test_a_change_of_shape_starts_a_session(
    server: StrainServer, feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    feed.next()
    before = feed.image()
    counts = server.counts
    feed.next(shape=(30, 10))
    wait_until(lambda: server.counts.unpaired == counts.unpaired + 1)
    assert server.counts.published == counts.published, "no image across the change"
    feed.next(shape=(30, 10))
    after = feed.image()
    assert after.shape == (30, 10)
    assert after.session == before.session + 1
    assert after.reference.sequence == after.current.sequence - 1
    assert any(
        "session 2: 'test', 30 x 10 int16 (shape changed from 24 x 8 to 30 x 10)" in record.message
        for record in caplog.records
    )


def test_frames_that_were_lost_are_counted(server: StrainServer, feed: Feed) -> None:
    feed.sequence += 2
    feed.next()
    image = feed.image()
    assert image.current.sequence - image.reference.sequence == 3
    assert server.counts.frames.lost == 2


def test_a_source_that_starts_again_is_a_new_session(server: StrainServer, feed: Feed) -> None:
    unpaired = server.counts.unpaired
    feed.sequence = 0
    feed.next()
    wait_until(lambda: server.counts.unpaired == unpaired + 1)
    feed.next()
    assert feed.image().session == 2
