"""Rate and age of images: ages of those of this moment, the rate of all."""

from __future__ import annotations

import math

from usert.runtime.protocol.age import Age, Meter

MS = 1_000_000


def test_a_minute_of_an_image_shown_again_changes_no_age() -> None:
    meter = Meter()
    for k in range(100):
        meter.add(40 * MS * k, Age(ms=40.0 + k % 2, exact=True))
    for k in range(100, 1600):  # frozen: the rate goes on
        meter.add(40 * MS * k, None)
    for k in range(1600, 1700):
        meter.add(40 * MS * k, Age(ms=40.0, exact=True))
    readings = meter.read(40 * MS * 1700)
    assert readings.count == 1700
    assert abs(readings.mean_rate_hz - 25) < 0.1
    assert (readings.age_p50_ms, readings.age_p99_ms) == (40.0, 41.0)


def test_where_nothing_was_live_there_is_no_age() -> None:
    meter = Meter()
    meter.add(0, None)
    readings = meter.read(MS)
    assert readings.count == 1
    assert math.isnan(readings.age_p50_ms)
    assert str(readings) == "1 image, none of them live"
