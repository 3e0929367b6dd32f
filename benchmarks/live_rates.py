"""Images a second of bundles side by side, as a live server runs them, in turns in one process.

    python benchmarks/live_rates.py BUNDLE[,AT_ONCE[,HOW]] … [--shape 512x128] [--engine openvino] [--precision int8]
                                    [--threads 2] [--seconds 4] [--rounds 3]

`default` and `small` are bundles of the package. With AT_ONCE 2 two pairs run at once and share the threads. HOW is
`follow`: the frames of the simulated scanner come in sequence as one live session (`usert serve --follow`); else one
pair comes again and again, with `any` by the graph for any shape as it is, where otherwise it is compiled for the shape
first. The ratios are to the first. CPU time is of the whole process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from usert.bundle import Bundle
from usert.errors import UsertError
from usert.machine import cpu_name
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.bench.live_session import LiveSession
from usert.runtime.engines import open_engine
from usert.runtime.engines.following import FollowingEngine

FRAMES = 24
"""Period of the stream."""


@dataclass
class Variant:
    """One way to run one bundle, and what was measured of it in each round."""

    name: str
    at_once: int
    run: Callable[[], object]
    session: LiveSession | None
    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    followed: list[float] = field(default_factory=list)

    def measure(self, seconds: float) -> None:
        """Run for so long, and note the figures."""
        if self.session is not None:
            self.session.followed()
        begin, cpu = time.perf_counter(), time.process_time()
        done = [0] * self.at_once

        def work(k: int) -> None:
            while time.perf_counter() - begin < seconds:
                self.run()
                done[k] += 1

        threads = [threading.Thread(target=work, args=(k,)) for k in range(self.at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.rates.append(sum(done) / (time.perf_counter() - begin))
        self.cpu_ms.append(1e3 * (time.process_time() - cpu) / sum(done))
        if self.session is not None:
            self.followed.append(self.session.followed() / sum(done))


def opened(words: str, scanner: SimulatedScanner, options: argparse.Namespace, stack: ExitStack) -> Variant:
    """The variant of BUNDLE[,AT_ONCE[,HOW]]. Errors: `SystemExit` for other words than these."""
    name, *more = words.split(",")
    if more[1:] not in ([], ["follow"], ["any"]) or (more and more[0] not in ("1", "2")):
        raise SystemExit(f"{words}: got {','.join(more)}, expected 1 or 2, or one of them with follow or any")
    count, how = int((more or ["1"])[0]), more[1:]
    opening = open_engine(
        Bundle.load(Path(name)),
        engine=options.engine,
        precision=options.precision,
        threads=options.threads,
        at_once=count,
    )
    engine = stack.enter_context(closing(opening))
    frames = [scanner.frame(k) for k in range(FRAMES)]
    if how == ["follow"]:
        following = FollowingEngine(engine)
        following.warm_up(frames[0].samples.shape, scanner.scan)
        session = LiveSession(following, frames)
        return Variant(words, count, session.run, session)
    if how != ["any"]:
        engine.warm_up(frames[0].samples.shape, scanner.scan)
    pair = frames[3].samples, frames[4].samples, scanner.scan
    return Variant(words, count, lambda: engine.run(*pair), None)


def as_shape(text: str) -> tuple[int, int]:
    """Frame shape (N, M) of a text such as 512x128. Errors: `ValueError`."""
    rows, lines = text.split("x")
    return int(rows), int(lines)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="+", metavar="BUNDLE[,AT_ONCE[,HOW]]")
    parser.add_argument("--shape", default=(512, 128), type=as_shape, metavar="NxM")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--seconds", default=4.0, type=float)
    parser.add_argument("--rounds", default=3, type=int)
    options = parser.parse_args()
    sys.setswitchinterval(5e-4)  # as a live server does
    with ExitStack() as stack:
        try:
            scanner = SimulatedScanner(ScannerConfig(shape=options.shape), seed=0)
            variants = [opened(words, scanner, options, stack) for words in options.variants]
        except UsertError as error:
            raise SystemExit(str(error)) from error
        for _ in range(options.rounds):
            for variant in variants:
                variant.measure(options.seconds)
    shape = "x".join(map(str, options.shape))
    print(f"{shape}, {options.engine}, {options.precision}, {options.threads} threads, {cpu_name()}\n")
    print(
        "| variant | images/s | of each round | over the first | CPU ms an image | followed |\n"
        + "|---" * 6
        + "|"
    )
    first = statistics.median(variants[0].rates)
    for variant in variants:
        rate = statistics.median(variant.rates)
        each = ", ".join(f"{rate:.1f}" for rate in variant.rates)
        share = f"{statistics.mean(variant.followed):.2f}" if variant.followed else ""
        cpu = statistics.median(variant.cpu_ms)
        print(f"| {variant.name} | {rate:.2f} | {each} | {rate / first:.2f} | {cpu:.0f} | {share} |")


if __name__ == "__main__":
    main()
