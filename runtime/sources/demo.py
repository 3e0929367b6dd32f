"""The demo: the whole live path on this machine: simulated scanner, server, client, live page and a final picture."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.errors import EngineError, expect
from usert.output_file import check_output_file

from ..clients.rf_history import RecentFrames
from ..clients.strain_client import StrainClient
from ..clients.terminal import watch
from ..imaging.pairing import PairingRule
from ..offline.figure import figure_page, save_png
from ..protocol.age import Meter, Readings, now_ns
from ..protocol.strain_message import StrainMessage
from .child_process import ChildProcess
from .replay import ReplayConfig
from .simulated import SIZES, LesionRatio, simulated_scanner

KEPT_SHARE, PROMPT_FRAMES = 0.98, 1.5
"""It keeps up with images of this share of the frames at least, and a median age of at most so many frame times."""
GOOD_QUALITY = 0.8
"""An image of lower mean quality becomes the picture only where there is no better one."""
WHAT_ONE_SEES = (
    "a hand presses and releases; in the strain image a dark disc, three times as stiff as what surrounds it, which "
    "B-mode cannot show; hatched parts must not be read; the band on top says how old the image is"
)
_LOOPBACK = "tcp://127.0.0.1:0"
_FIRST_IMAGE_S = 120.0
_STALE_MS = 2000.0
"""Age from which on an image is stale; long, since a busy CPU takes most of a second for an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """Configuration of the demo. Errors: `OptionError`, `BundleError`."""

    out: Path
    seconds: float = 30.0
    """Duration, from the first image on."""
    size: str = "small"
    rate_hz: float = 20.0
    lag: int = 4
    """Frames from reference to current frame; 4 give at most about 1 % of strain with the simulated hand."""
    bundle: Path | None = None
    """The bundle to run; None: the default bundle."""
    page: bool = True
    """Whether to serve the live page."""

    def __post_init__(self) -> None:
        expect(0 < self.seconds < float("inf"), "--seconds", f"{self.seconds:g}", "more than 0")
        expect(self.size in SIZES, "--size", f"{self.size!r}", f"one of {', '.join(SIZES)}")
        check_output_file(self.out, option="--out", suffix=".png")
        # what the child processes would refuse
        ReplayConfig(endpoint=_LOOPBACK, rate_hz=self.rate_hz)
        rule = PairingRule(lag=self.lag)
        least_hz = 1e3 * max(1, self.lag - rule.max_gap_frames) / rule.max_interval_ms
        near = f"frames of a pair are at most {rule.max_interval_ms:g} ms apart"
        wanted = f"at least {least_hz:g} with lag {self.lag}: {near}"
        expect(self.rate_hz >= least_hz, "--rate", f"{self.rate_hz:g} Hz", wanted)
        if self.bundle is not None:
            Bundle.load(self.bundle, verify=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """Counts of the stream, and its best image."""

    readings: Readings
    rate_hz: float
    """Frames a second that the scanner sent."""
    picture: Path | None = None
    """The saved picture; None when the demo was stopped before the first image."""
    received: int = 0
    """Frames that the server received."""
    dropped: int = 0
    """Frames that the server dropped for newer ones."""
    mean_quality: float = math.nan
    strain_ratio: float = math.nan
    """Mean strain inside the lesion over that beside it, in the best image."""
    true_ratio: float = math.nan
    """The same ratio of the simulated motion."""

    @property
    def pace(self) -> str:
        """Whether images came as fast as frames, and how old they were, in words."""
        images_hz, old = self.readings.mean_rate_hz, self.readings.age_p50_ms / 1e3 * self.rate_hz
        keeps = images_hz >= KEPT_SHARE * self.rate_hz and old <= PROMPT_FRAMES
        return (
            f"{'keeps' if keeps else 'does not keep'} up: {images_hz:.1f} images of {self.rate_hz:g} frames a second, "
            f"age p50 {old:.2f} frame times (limit {PROMPT_FRAMES:g})"
        )

    def __str__(self) -> str:
        if self.picture is None:
            return f"{self.readings}, stopped before a picture could be taken"
        return (
            f"{self.received} frames, {self.readings}, dropped {self.dropped}, mean quality "
            f"{self.mean_quality:.2f}, strain inside/outside {self.strain_ratio:.2f} "
            f"(true {self.true_ratio:.2f}), picture {self.picture}"
        )


class Demo:
    """Runs the demo: `Demo(config, show, keep).run()`; `stop()` ends it early with a report.

    `show` is called with lines of the current state, `keep` with lines that should stay readable.
    """

    def __init__(self, config: DemoConfig, show: Callable[[str], None], keep: Callable[[str], None]) -> None:
        self._config = config
        self._show = show
        self._keep = keep
        self._stopping = False
        self._client: StrainClient | None = None
        self._best: tuple[StrainMessage, NDArray[np.generic]] | None = None
        """The best image so far, and the samples of its reference frame."""
        self._last: StrainMessage | None = None
        self._qualities: list[float] = []

    def stop(self) -> None:
        """Make `run` return soon. Safe in any thread and in signal handlers; idempotent."""
        self._stopping = True
        if self._client is not None:
            self._client.stop()

    def run(self) -> DemoReport:
        """Run the demo. Errors: `EngineError` when a child process fails, or no image comes."""
        readings = None
        with ExitStack() as stack:
            self._show("starting the simulated scanner")
            source = stack.enter_context(ChildProcess(self._source_command()))
            rf = source.wait_for(r"rf on (\S+)", stopping=lambda: self._stopping)
            if rf is not None:
                self._show("starting the server")
                # before the server, so that no reference frame of its images is missed
                frames = stack.enter_context(RecentFrames(rf[1]))
                server = stack.enter_context(ChildProcess(self._server_command(rf[1])))
                strain = server.wait_for(r"strain on (\S+)", stopping=lambda: self._stopping)
                if strain is not None:
                    if self._config.page:
                        self._serve_page(stack, strain[1], rf[1])
                    client = stack.enter_context(StrainClient(strain[1], stale_ms=_STALE_MS))
                    readings = self._watch(client, frames, source, server)
        return self._report(readings)

    def _serve_page(self, stack: ExitStack, strain: str, rf: str) -> None:
        command = ["view", "--strain", strain, "--rf", rf, "--http", "127.0.0.1:0"]
        view = stack.enter_context(ChildProcess([*command, "--stale-ms", f"{_STALE_MS:g}"]))
        page = view.wait_for(r"page on (\S+)", stopping=lambda: self._stopping)
        if page is not None:
            self._keep(f"demo: open {page[1]} in a browser, for the next {self._config.seconds:g} s")
            self._keep(f"demo: {WHAT_ONE_SEES}")

    def _source_command(self) -> list[str]:
        config = self._config
        command = ["replay", "--simulate", "--size", config.size, "--rate", str(config.rate_hz)]
        return [*command, "--publish", _LOOPBACK]

    def _server_command(self, rf: str) -> list[str]:
        command = ["serve", "--rf", rf, "--publish", _LOOPBACK, "--lag", str(self._config.lag)]
        return command if self._config.bundle is None else [*command, "--bundle", str(self._config.bundle)]

    def _watch(
        self, client: StrainClient, frames: RecentFrames, source: ChildProcess, server: ChildProcess
    ) -> Readings:
        end_s = time.monotonic() + _FIRST_IMAGE_S

        def show(text: str) -> None:
            self._show(text)
            if not self._stopping:
                source.check()
                server.check()
                if self._last is None and time.monotonic() > end_s:
                    said = server.errors[-1] if server.errors else "the server logged nothing"
                    raise EngineError(f"demo: got no image in {_FIRST_IMAGE_S:g} s: {said}")

        def observe(message: StrainMessage) -> None:
            self._observe(message, frames)

        self._client = client
        if self._stopping:
            client.stop()
        meter = Meter()
        watch(client, show, count=1, observe=observe, meter=meter)
        return watch(client, show, seconds=self._config.seconds, observe=observe, meter=meter)

    def _observe(self, message: StrainMessage, frames: RecentFrames) -> None:
        self._last = message
        self._qualities.append(message.mean_quality)
        if self._best is None or _merit(message) > _merit(self._best[0]):
            reference = frames.find(message.stream, message.reference)
            if reference is not None:
                self._best = message, reference.samples

    def _report(self, readings: Readings | None) -> DemoReport:
        if readings is None or self._best is None or self._last is None:
            return DemoReport(readings=readings or Meter().read(now_ns()), rate_hz=self._config.rate_hz)
        (best, samples), last = self._best, self._last
        lesion = LesionRatio(simulated_scanner(self._config.size))
        ratio = lesion.of(best.strain)
        true_ratio = lesion.true(best.reference.sequence, best.current.sequence)
        page = figure_page(
            samples=samples,
            scan=best.scan,
            strain=best.strain,
            quality=best.quality,
            title=f"Simulated lesion, frames {best.reference.sequence} to {best.current.sequence}: "
            f"strain inside/outside {ratio:.2f} (true {true_ratio:.2f})",
        )
        save_png(page, self._config.out)
        return DemoReport(
            readings=readings,
            rate_hz=self._config.rate_hz,
            picture=self._config.out,
            received=last.counters.received,
            dropped=last.counters.dropped,
            mean_quality=float(np.mean(self._qualities)),
            strain_ratio=ratio,
            true_ratio=true_ratio,
        )


def _merit(message: StrainMessage) -> tuple[bool, float]:
    """Sort key of images: good ones first, then by strain and quality."""
    return message.mean_quality >= GOOD_QUALITY, abs(message.mean_strain) * message.mean_quality
