"""The terminal client: a status line about the newest image."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..imaging.strain_ratio import RatioReading
from ..protocol.age import Meter, Readings, now_ns
from ..protocol.strain_message import StrainMessage
from .strain_client import StrainClient

_REFRESH_S = 0.1
_PLAIN_LINE_S = 1.0
_TELLING_S = 1.0
"""Time without an image after which it is told why: a connection takes some tenths of a second."""


class StatusLine:
    """A line that is refreshed in place on a terminal; elsewhere a new line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        if console.is_terminal:  # refreshed by `show` alone, so that no thread is left behind
            self._live = Live(console=console, auto_refresh=False, transient=True)
        self._next_s = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, text: str) -> None:
        """Show `text` in place of the last one, unless that was shown only a moment ago."""
        if time.monotonic() < self._next_s:
            return
        if self._live is not None:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
            self._next_s = time.monotonic() + _REFRESH_S
        else:
            self._console.out(text, highlight=False)
            self._next_s = time.monotonic() + _PLAIN_LINE_S

    def keep(self, text: str) -> None:
        """Print `text` above the line, where it stays."""
        self._console.out(text, highlight=False)


def watch(
    client: StrainClient,
    show: Callable[[str], None],
    *,
    count: int | None = None,
    seconds: float | None = None,
    observe: Callable[[StrainMessage], None] | None = None,
    meter: Meter | None = None,
) -> Readings:
    """Show the stream until `count` images, `seconds`, or `client.stop()`, and return its rate and ages.

    `show` gets the status line, `observe` each image. `meter`: one that has seen images before goes on counting.
    """
    meter = meter or Meter()
    message: StrainMessage | None = None
    begun_s = time.monotonic()
    end_s = begun_s + (float("inf") if seconds is None else seconds)
    while not client.stopping and (left_s := end_s - time.monotonic()) > 0:
        newest = client.receive(min(_REFRESH_S, left_s))
        if newest is not None and (age := client.age) is not None:
            message = newest
            meter.add(now_ns(), None if message.state == "held" else age)
            if observe is not None:
                observe(message)
        readings = meter.read(now_ns())
        if message is None:
            show(no_image_text(client, time.monotonic() - begun_s))
        else:
            show(status_text(client, message, readings))
        if count is not None and readings.count >= count:
            break
    return meter.read(now_ns())


def no_image_text(client: StrainClient, waited_s: float) -> str:
    """The status line before the first image."""
    because = (
        f" in {waited_s:.0f} s from {client.obstacle}" if client.obstacle and waited_s >= _TELLING_S else ""
    )
    return f"stale   no image yet{because}"


def status_text(client: StrainClient, message: StrainMessage, readings: Readings) -> str:
    """The status line for the image that the client returned last."""
    age, state = client.age, client.image_state
    text = (
        f"{state:<6}  {readings.rate_hz:5.1f} images/s  age {age}  "
        f"strain {100 * message.mean_strain:+.2f} %  quality {message.mean_quality:.2f}  "
        f"dropped {message.counters.dropped}"
    )
    if message.reason:
        text += f"  {message.reason}"
    if message.warnings:
        text += f"  {', '.join(message.warnings)}"
    if message.ratio is not None:
        text += f"  ratio {_ratio_text(message.ratio)}"
    malformed = message.counters.malformed + sum(client.malformed.values())
    return f"{text}  malformed {malformed}" if malformed else text


def _ratio_text(reading: RatioReading) -> str:
    if reading.ratio is None or reading.spread is None:
        return f"none ({reading.refused})"
    return f"{reading.ratio:.2f} ± {reading.spread:.2f}"
