"""The configuration of a benchmark, checked before anything is started.

Errors name the options of `usert bench`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from usert.bundle.manifest import PRECISIONS
from usert.errors import OptionError, expect

from ..engines import ENGINES, REFERENCE
from ..engines.bundle_engine import MOST_THREADS
from ..engines.concurrency import check_option
from ..transport.address import check_endpoint
from .live_server import PATIENCE_S
from .roofline import Rates
from .workload import Workload

WIRE_RATE_HZ = 30.0
"""Rate of the simulated scanner where none is given."""
MOST_RATE_HZ = 10_000.0
MOST_DECIMATION = 8
"""Most samples of RF to one of IQ: at 40 MHz and 6.5 MHz the pulse fits."""
HOLD_S = 10.0
"""How long a critical rate is confirmed where nothing else is asked for."""
_LONGEST_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """Configuration of a benchmark: bundles × engines × precisions × shapes."""

    bundles: tuple[Path, ...]
    """Folders; accuracy is measured against the float32 graph of the first."""
    engines: tuple[str, ...] = ()
    """Empty: all that work here, except the reference."""
    precisions: tuple[str, ...] = ()
    """Empty: those of the bundle."""
    shapes: tuple[tuple[int, int], ...] = ()
    """Empty: those that the bundles have their own graphs for."""
    iq: int | None = None
    """Frames are IQ, one sample of so many; None: RF."""
    threads: int | None = None
    """Threads of an engine; None: one for each core."""
    at_once: int | None = None
    """Pairs that run at once and share the threads; None: by the size of the frames."""
    seconds: float = 10.0
    """Length of all measurements of a variant together."""
    rounds: int = 5
    """Measurements of each variant, interleaved with those of the others."""
    follow: bool = False
    """Whether images start from the motion of those before, as with `usert serve --follow`."""
    rate_hz: float | None = None
    """Frames a second; None: closed loop, or over sockets `WIRE_RATE_HZ`."""
    every_frame: bool = False
    pause_s: float = 0.0
    """Idle time before each measurement."""
    wire: bool = False
    """Whether frames and images go over sockets, from process to process."""
    rf: str | None = None
    """Address of the user's own scanner; None: the simulated one."""
    insecure: bool = False
    """Whether that scanner may be on another machine without keys."""
    critical: bool = False
    """Whether the critical rate is sought; then `rounds` is the most trials, and `seconds` their length together."""
    limit_ms: float | None = None
    """Limit of the age there; None: two frame times."""
    hold_s: float | None = None
    """How long it is confirmed; None: `HOLD_S`."""
    gpu_rates: Rates | None = None
    """Peak rates of the GPU as given by the user; they are not measured."""
    patience_s: float = PATIENCE_S
    """How long to wait for a scanner that sends nothing."""

    def __post_init__(self) -> None:
        known = (*ENGINES, REFERENCE)
        for name in self.engines:
            expect(name in known, "--engine", f"{name!r}", ", ".join(sorted(known)))
        for name in self.precisions:
            expect(name in PRECISIONS, "--precision", f"{name!r}", ", ".join(PRECISIONS))
        most = MOST_THREADS
        check_option(self.at_once)
        if (self.at_once or 1) > 1 and self.pairs_at_once == 1:
            raise OptionError(
                f"--at-once: got {self.at_once} with --rate, expected --wire as well: without sockets frames follow "
                "one another"
            )
        expect(self.threads is None or 1 <= self.threads <= most, "--threads", self.threads, f"1 to {most}")
        if not 0 < self.seconds <= _LONGEST_S:
            raise OptionError(
                f"--seconds: got {self.seconds:g}, expected more than 0, at most {_LONGEST_S:g}"
            )
        expect(self.iq is None or 1 <= self.iq <= MOST_DECIMATION, "--iq", self.iq, f"1 to {MOST_DECIMATION}")
        expect(self.rounds >= 1, "--rounds", self.rounds, "1 or more")
        if self.rate_hz is not None and not 0 < self.rate_hz <= MOST_RATE_HZ:
            raise OptionError(
                f"--rate: got {self.rate_hz:g} Hz, expected more than 0, at most {MOST_RATE_HZ:g}"
            )
        expect(0 <= self.pause_s < math.inf, "--pause", f"{self.pause_s:g} s", "0 or more")
        if self.rf is not None:
            if not self.wire or self.rate_hz is not None or self.shapes or self.pause_s or self.iq:
                raise OptionError(
                    "--rf: expected --wire, and none of --rate, --shape, --iq and --pause: the scanner has its own"
                )
            check_endpoint(self.rf, insecure=self.insecure)
        elif self.every_frame and self.rate_hz is None and not self.wire:
            raise OptionError("--every-frame: got no --rate, expected one: a closed loop has no queue")
        self._check_critical()

    def _check_critical(self) -> None:
        if not self.critical:
            if self.limit_ms is not None or self.hold_s is not None:
                raise OptionError("--limit-ms, --hold: expected --critical-rate")
            return
        if not self.wire or self.rf is not None or self.rate_hz is not None or self.pause_s:
            raise OptionError(
                "--critical-rate: expected none of --rate, --rf and --pause: it chooses the rates of its own scanner"
            )
        if self.limit_ms is not None and not 0 < self.limit_ms < math.inf:
            raise OptionError(f"--limit-ms: got {self.limit_ms:g}, expected more than 0")
        if self.hold_s is not None and not 0 < self.hold_s <= _LONGEST_S:
            raise OptionError(f"--hold: got {self.hold_s:g}, expected more than 0, at most {_LONGEST_S:g}")

    @property
    def pairs_at_once(self) -> int | None:
        """What engines are opened with: of frames that arrive at a rate, one after the other without sockets."""
        return 1 if self.rate_hz is not None and not self.wire else self.at_once

    @property
    def workload(self) -> Workload:
        """The workload of every measurement."""
        rate_hz = self.rate_hz
        if self.wire and self.rf is None and rate_hz is None:
            rate_hz = WIRE_RATE_HZ
        return Workload(
            seconds=self.seconds / self.rounds,
            rate_hz=rate_hz,
            every_frame=self.every_frame,
            pause_s=self.pause_s,
        )


def parse_rates(text: str) -> Rates:
    """`790,4300` as TFLOP/s and GB/s. Errors: `OptionError`."""
    try:
        tflops, gigabytes = (float(part) for part in text.split(","))
    except ValueError:
        tflops = gigabytes = math.nan
    if not (0 < tflops < math.inf and 0 < gigabytes < math.inf):
        raise OptionError(f"--gpu-peak: got {text!r}, expected TFLOP/s and GB/s, such as 790,4300")
    return Rates(flops=1e12 * tflops, bytes=1e9 * gigabytes)
