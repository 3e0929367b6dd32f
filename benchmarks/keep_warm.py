"""What the first frame after a pause costs, and what is left of that where the engine ran meanwhile.

    python benchmarks/keep_warm.py [--bundle DIR] [--threads N] [--rounds 10] [--pauses 1 5 30] [--every 1]

Each turn: steady runs, one after another; a pause, idle or with a run every so many seconds, none less than that before
its end; then three runs. The turns of a round come in an order drawn anew, engines and shapes included. The answer
after every pause is the steady one, bit for bit. Times are of the engine alone. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tables import markdown

from usert.bundle import Bundle, default_bundle_path
from usert.errors import UsertError
from usert.machine import cpu_name
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines import open_engine
from usert.runtime.imaging.estimate import Estimate

ENGINES = "onnxruntime", "openvino"
SHAPES = (512, 128), (1024, 256)
FRAMES = 2, 8
SETTLING, STEADY, AFTER = 3, 5, 3
"""Runs before each pause, not timed and timed, and after it."""


@dataclass(slots=True)
class Turns:
    """One engine at one shape with one kind of pause, and the seconds of its runs so far."""

    engine: str
    shape: tuple[int, int]
    pause_s: float
    warm: bool
    run: Callable[[], Estimate]
    expected: Estimate
    steady: list[float] = field(default_factory=list)
    """Of each turn, the median."""
    after: list[list[float]] = field(default_factory=list)

    def turn(self, every_s: float) -> None:
        for _ in range(SETTLING):
            self.run()
        self.steady.append(float(np.median([self._timed() for _ in range(STEADY)])))
        begin = time.monotonic()
        while (left := begin + self.pause_s - time.monotonic()) > 0:
            if not self.warm:
                time.sleep(left)
            elif left >= 2 * every_s:
                time.sleep(every_s)
                self.run()
            else:
                time.sleep(left)
        self.after.append([self._timed() for _ in range(AFTER)])

    def _timed(self) -> float:
        begin = time.perf_counter()
        got = self.run()
        elapsed = time.perf_counter() - begin
        if not np.array_equal(got.displacement, self.expected.displacement):
            sys.exit(f"keep_warm: {self.engine} at {self.shape}: another answer after a pause")
        return elapsed

    def row(self) -> dict[str, Any]:
        later = 1e3 * (np.array(self.after) - np.array(self.steady)[:, np.newaxis])
        return {
            "shape": f"{self.shape[0]}x{self.shape[1]}",
            "engine": self.engine,
            "pause s": self.pause_s,
            "in it": "runs" if self.warm else "idle",
            "steady ms": 1e3 * float(np.median(self.steady)),
            "first run later by ms": float(np.median(later[:, 0])),
            "p90": float(np.quantile(later[:, 0], 0.9)),
            "most": float(later[:, 0].max()),
            "second": float(np.median(later[:, 1])),
            "third": float(np.median(later[:, 2])),
        }


def prepared(
    bundle: Bundle, threads: int | None, pauses: Sequence[float], every_s: float, stack: ExitStack
) -> list[Turns]:
    """Every engine at every shape, open and run once; pauses too short for a run in them are idle only."""
    turns: list[Turns] = []
    for shape in SHAPES:
        scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=1)
        reference, current = (scanner.frame(k).samples for k in FRAMES)
        for name in ENGINES:
            engine = open_engine(bundle, engine=name, threads=threads)
            stack.callback(engine.close)

            def run(engine: Any = engine, reference: Any = reference, current: Any = current) -> Estimate:
                answer: Estimate = engine.run(reference, current)
                return answer

            expected = run()
            turns += [
                Turns(name, shape, pause_s, warm, run, expected)
                for pause_s in pauses
                for warm in ((False, True) if pause_s >= 2 * every_s else (False,))
            ]
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bundle", type=Path, help="the default one if not given")
    parser.add_argument("--threads", type=int, help="of each engine; all cores if not given")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pauses", type=float, nargs="+", default=[1.0, 5.0, 30.0], metavar="S")
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="between the runs in a pause")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    try:
        with ExitStack() as stack:
            bundle = Bundle.load(options.bundle or default_bundle_path())
            turns = prepared(bundle, options.threads, options.pauses, options.every, stack)
            for _ in range(options.rounds):
                for at in rng.permutation(len(turns)):
                    turns[at].turn(options.every)
    except UsertError as error:
        sys.exit(f"keep_warm: {error}")
    rows = [turn.row() for turn in turns]
    print(markdown(rows))
    print(json.dumps({"benchmark": "keep_warm", "machine": cpu_name(), "rows": rows}))


if __name__ == "__main__":
    main()
