"""What the live server says of each image: live, the last good one held, or idle; and how far back it reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from live import SHAPE, Feed, Source, make_server, running
from numpy.typing import NDArray

from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.lag import LagRule
from usert.runtime.imaging.persistence import Averaging, PersistenceRule
from usert.runtime.protocol.strain_message import StrainMessage


class Told:
    """An engine that answers what the test tells it: axial strain, and quality everywhere."""

    name = "told"
    strain_window_at = staticmethod(lambda scan: 3)

    def __init__(self) -> None:
        self.strain, self.quality = 0.01, 0.9

    def warm_up(self, shape: tuple[int, int], scan: object = None) -> None:
        pass

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: object = None) -> Estimate:
        rows = np.broadcast_to(np.arange(SHAPE[0], dtype=np.float32)[:, None], SHAPE)
        return Estimate(
            displacement=np.stack((-self.strain * rows, 0 * rows)),
            strain=np.full(SHAPE, self.strain, np.float32),
            quality=np.full(SHAPE, self.quality, np.float32),
        )

    def close(self) -> None:
        pass


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def feed(told: Told, source: Source) -> Iterator[Feed]:
    with (
        running(make_server(told, source)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        primed = Feed(source, client)
        primed.prime()
        yield primed


def after(feed: Feed, told: Told, strain: float, quality: float) -> StrainMessage:
    told.strain, told.quality = strain, quality
    feed.next()
    return feed.image()


def test_a_poor_image_gives_way_to_the_last_good_one(feed: Feed, told: Told) -> None:
    good = after(feed, told, 0.01, 0.9)
    assert (good.state, good.reason) == ("live", "")
    assert good.score == pytest.approx(0.9)
    assert good.readable_strain == pytest.approx(0.01)
    assert good.compression == pytest.approx(0.01 / 0.015)
    assert good.warnings == ()
    for _ in range(2):
        held = after(feed, told, 0.03, 0.2)
        assert (held.state, held.reason) == ("held", "quality")
        assert held.current == good.current
        assert held.reference == good.reference
        assert held.mean_strain == good.mean_strain
        np.testing.assert_array_equal(held.strain, good.strain)
        assert held.published_ns > good.published_ns
        assert held.counters.published > good.counters.published
    again = after(feed, told, -0.02, 0.9)
    assert (again.state, again.current.sequence) == ("live", feed.sequence)
    assert again.readable_strain == pytest.approx(-0.02)
    assert again.compression == -1
    assert again.warnings == ("strain_high",)


def test_a_probe_at_rest_is_idle_after_a_moment(feed: Feed, told: Told) -> None:
    good = after(feed, told, 0.01, 0.9)
    resting = [after(feed, told, 0.0, 0.99) for _ in range(5)]
    assert [message.state for message in resting] == ["held", "held", "held", "idle", "idle"]
    assert {message.reason for message in resting} == {"still"}
    assert resting[0].current == good.current
    assert resting[4].current.sequence == feed.sequence
    assert after(feed, told, 0.01, 0.9).state == "live"


def test_nothing_of_another_session_is_held(feed: Feed, told: Told) -> None:
    after(feed, told, 0.01, 0.9)
    feed.sequence = 0  # the source starts again
    told.quality = 0.2
    feed.next()
    feed.next()
    image = feed.image()
    assert (image.state, image.reason, image.current.sequence) == ("idle", "quality", 2)


def test_the_lag_grows_where_there_is_little_motion(told: Told, source: Source) -> None:
    """.05 % a frame: six frames make .3 %, the least that is useful."""
    told.strain = 0.0005

    with (
        running(make_server(told, source, lag=LagRule(most=16))) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        feed = Feed(source, client)
        feed.prime()
        lags = []
        for _ in range(40):
            feed.next()
            message = feed.image()
            lag = message.current.sequence - message.reference.sequence
            lags.append(lag)
            told.strain = 0.0005 * lag  # what the next pair, about as far apart, will show
        assert lags[-1] >= 6
        assert max(lags) <= 16 + 4


def test_images_are_averaged_over_time_and_say_so(told: Told, source: Source) -> None:
    persistence = PersistenceRule(weight=0.5)
    with (
        running(make_server(told, source, persistence=persistence)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        feed = Feed(source, client)
        feed.prime()
        first = after(feed, told, 0.01, 0.9)
        second = after(feed, told, 0.012, 0.9)
        assert first.persistence is not None
        assert second.persistence is not None
        assert second.persistence.weight == 0.5
        assert second.persistence.images == first.persistence.images + 1
        assert 0.2 < second.persistence.past_share < 0.6
        assert second.mean_strain == pytest.approx(second.strain.mean())
        feed.sequence = 0  # another session: nothing of the past
        feed.next()
        assert after(feed, told, 0.01, 0.9).persistence == Averaging(weight=0.5, images=1, past_share=0.0)
        held = after(feed, told, 0.03, 0.2)
        assert held.persistence == Averaging(weight=0.5, images=1, past_share=0.0), "held as it was"


def test_without_averaging_the_image_is_the_engines(feed: Feed, told: Told) -> None:
    assert after(feed, told, 0.01, 0.9).persistence is None


def test_the_strain_rate_is_that_of_the_sources_clock(feed: Feed, told: Told) -> None:
    told.strain = 0.01
    begin = feed.next().frame.time_ns
    feed.image()
    feed.next(time_ns=begin + 50_000_000)
    assert feed.image().strain_rate == pytest.approx(0.2)
    feed.next(time_ns=begin + 50_000_000)
    assert feed.image().strain_rate is None, "no time between them"


def test_an_image_older_than_the_deadline_is_counted(told: Told, source: Source) -> None:
    told.strain = 0.01
    with (
        running(make_server(told, source, deadline_ms=1e-6)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        feed = Feed(source, client)
        feed.prime()
        feed.next()
        image = feed.image()
        assert image.deadline_ms == 1e-6
        assert image.counters.missed_deadlines == image.counters.published == server.counts.missed_deadlines
        held = after(feed, told, 0.03, 0.2)
        assert held.state == "held"
        assert held.counters.missed_deadlines == image.counters.missed_deadlines, "old on purpose"
