"""Numbers of a scan's geometry that cannot be, and the unit that was probably meant.

Limits lie far beyond what scanners do, from phased arrays to acoustic microscopes, so that a number outside them is one
of another unit or of another thing. Knows no frame.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Limits:
    unit: str
    low: float
    high: float
    meant: tuple[tuple[float, str], ...]
    """Factors that bring a number in another unit within the limits, likeliest first, and what to say of it."""


_MHZ = (1e6, "looks like MHz"), (1e3, "looks like kHz"), (1e9, "looks like GHz")
_LIMITS = {
    "sound_speed_m_s": _Limits(
        "m/s",
        300,
        10_000,
        ((1e3, "looks like km/s or mm/µs"), (1e-2, "looks like cm/s"), (1e-3, "looks like mm/s")),
    ),
    "line_pitch_mm": _Limits("mm", 1e-3, 50, ((1e3, "looks like metres"), (1e-3, "looks like µm"))),
    "fs_hz": _Limits("Hz", 2e5, 2e9, (*_MHZ, (1e-6, "--fs-mhz takes MHz"))),
    "f0_hz": _Limits("Hz", 1e5, 5e8, (*_MHZ, (1e-6, "--f0-mhz takes MHz"))),
    "demodulation_hz": _Limits("Hz", 1e5, 5e8, (*_MHZ, (1e-6, "--demodulation-mhz takes MHz"))),
}


def unit_fault(name: str, value: float) -> str | None:
    """What is wrong with `value` as the field `name` of a `Scan`, with the likely meaning; None where it is plausible.

    >>> unit_fault("sound_speed_m_s", 1.54)
    'sound_speed_m_s: got 1.54, expected 300 to 10000 m/s: looks like km/s or mm/µs'
    """
    limits = _LIMITS[name]
    if limits.low <= value <= limits.high:
        return None
    expected = f"{name}: got {value:g}, expected {limits.low:g} to {limits.high:g} {limits.unit}"
    meant = (words for factor, words in limits.meant if limits.low <= factor * value <= limits.high)
    return ": ".join((expected, *list(meant)[:1]))


CLOCK_NS = 10**17
"""March 1973 of the Unix epoch: times below count from the start of a device or of a program."""
_FASTEST_NS = 1e5
"""Least interval between frames: 10 000 a second, which no scanner sends whole frames at."""
_LONGEST_NS = 6e10
"""Interval, a minute, up to which a clock in another unit is recognised."""


def clock_unit(interval: float) -> str | None:
    """The unit that times are probably in whose frames are `interval` apart; None where nanoseconds are plausible.

    >>> clock_unit(33_333)
    'microseconds'
    """
    units = {"microseconds": 1e3, "milliseconds": 1e6}
    if not 0 < interval < _FASTEST_NS:
        return None
    if interval <= 1:
        return "seconds or milliseconds"
    return next((unit for unit, ns in units.items() if _FASTEST_NS <= interval * ns <= _LONGEST_NS), None)
