"""`usert run` with several pairs at once: the same file as one after the other, whichever pair ends first."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live import TIMEOUT_S, WrappedEngine
from numpy.typing import NDArray
from run_command import names, speckle, usert, write

from usert.bundle import Bundle
from usert.errors import EngineError
from usert.frame import Scan, Shape
from usert.recording import Recording
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.offline.pairs import LeftOut, Pair, parse_pairs
from usert.runtime.offline.recipe import Recipe
from usert.runtime.offline.run_pairs import Observer, PairReport, estimate_pairs

FRAMES = 9


@pytest.fixture
def long_recording(tmp_path: Path) -> Path:
    return write(tmp_path / "rec.h5", speckle(FRAMES))


class Twos(WrappedEngine):
    """The real engine, two pairs at once: of each two the first ends last."""

    def __init__(self, engine: Engine, source: Recording) -> None:
        super().__init__(engine)
        self.ended: list[int] = []
        """References, in the order in which their pairs ended."""
        self.fails_at: int | None = None
        self.waits = True
        self._frames = [source.frame(k).samples for k in range(FRAMES)]
        self._two, self._one_at_a_time = threading.Condition(), threading.Lock()

    def at_once(self, shape: Shape, scan: Scan | None = None) -> int:
        return 2

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        number = next(k for k in range(FRAMES) if np.array_equal(self._frames[k], reference))
        with self._one_at_a_time:
            estimate = super().run(reference, current, scan)
        with self._two:
            if self.waits and number % 2 == 0:
                assert self._two.wait_for(lambda: number + 1 in self.ended, TIMEOUT_S)
            self.ended.append(number)
            self._two.notify_all()
        if number == self.fails_at:
            raise EngineError("lost its device")
        return estimate


def run_pairs(
    source: Recording,
    engine: Any,
    bundle: Bundle,
    out: Path,
    *,
    observe: Observer = lambda *_: None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[tuple[PairReport, ...], tuple[LeftOut, ...]]:
    made_of = Recipe().origin(
        source, called="rec.h5", engine=engine, engine_name="onnxruntime", bundle=bundle
    )
    pairs = parse_pairs("consecutive", len(source))
    return estimate_pairs(
        source, engine, bundle, out, pairs=pairs, made_of=made_of, observe=observe, stopped=stopped
    )


def test_results_are_in_the_order_of_the_pairs_whichever_ends_first(
    long_recording: Path, bundle: Bundle, tmp_path: Path
) -> None:
    seen: list[Pair] = []
    with Recording(long_recording) as source, closing(open_engine(bundle, threads=1)) as engine:
        run_pairs(source, engine, bundle, tmp_path / "alone.h5")
        twos = Twos(engine, source)
        reports, _ = run_pairs(
            source, twos, bundle, tmp_path / "twos.h5", observe=lambda report, *_: seen.append(report.pair)
        )
    assert twos.ended == [1, 0, 3, 2, 5, 4, 7, 6]
    assert seen == [report.pair for report in reports] == [(k, k + 1) for k in range(FRAMES - 1)]
    assert (tmp_path / "twos.h5").read_bytes() == (tmp_path / "alone.h5").read_bytes()


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_command_writes_the_same_bytes_and_tells_the_time_a_pair(
    long_recording: Path, bundle: Bundle, tmp_path: Path, engine: str
) -> None:
    words = ("run", long_recording, "--bundle", bundle.folder, "--engine", engine, "--threads", "2")
    more = ("--strain-window-mm", "0.4", "--figure")
    told = {}
    for count in ("1", "2", "3"):
        out, figure = tmp_path / f"{count}.h5", tmp_path / f"{count}.png"
        done = usert(*words, "--out", out, "--at-once", count, *more, figure)
        assert (done.returncode, done.stderr) == (0, "")
        *lines, told[count] = done.stdout.splitlines()
        assert [line.split()[0] for line in lines] == [f"{k}:{k + 1}" for k in range(FRAMES - 1)]
        assert out.read_bytes() == (tmp_path / "1.h5").read_bytes()
        assert figure.read_bytes() == (tmp_path / "1.png").read_bytes()
    assert told["1"] == f"8 pairs in {tmp_path / '1.h5'}"
    assert re.fullmatch(
        rf"8 pairs in {re.escape(str(tmp_path / '2.h5'))}, 2 at once: \d+ ms a pair", told["2"]
    )


def test_a_pair_that_fails_in_the_middle_ends_the_run_and_what_stood_there_stays(
    long_recording: Path, bundle: Bundle, tmp_path: Path
) -> None:
    out, seen = tmp_path / "o.h5", list[Pair]()
    out.write_bytes(b"older")
    with Recording(long_recording) as source, closing(open_engine(bundle, threads=1)) as engine:
        twos = Twos(engine, source)
        twos.fails_at = 4  # ends after 5:6, which is not told any more
        with pytest.raises(EngineError, match="lost its device"):
            run_pairs(source, twos, bundle, out, observe=lambda report, *_: seen.append(report.pair))
    assert seen == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert out.read_bytes() == b"older"
    assert names(tmp_path) == ["o.h5", "rec.h5"]


def test_stopped_it_waits_for_the_pairs_in_work_and_writes_nothing(
    long_recording: Path, bundle: Bundle, tmp_path: Path
) -> None:
    seen: list[Pair] = []
    with Recording(long_recording) as source, closing(open_engine(bundle, threads=1)) as engine:
        twos = Twos(engine, source)
        twos.waits = False
        with pytest.raises(KeyboardInterrupt):
            run_pairs(
                source,
                twos,
                bundle,
                tmp_path / "o.h5",
                observe=lambda report, *_: seen.append(report.pair),
                stopped=lambda: len(seen) >= 2,
            )
        started = len(twos.ended)
    assert len(seen) <= started <= len(seen) + 2
    assert names(tmp_path) == ["rec.h5"]


def test_no_more_estimates_are_in_memory_than_run_at_once_and_one(
    long_recording: Path, bundle: Bundle, tmp_path: Path
) -> None:
    references: list[weakref.ref[NDArray[Any]]] = []
    most = 0

    class Counted(Twos):
        def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
            estimate = super().run(reference, current, scan)
            references.append(weakref.ref(estimate.displacement))
            return estimate

    def observe(*_: object) -> None:
        nonlocal most
        gc.collect()
        most = max(most, sum(each() is not None for each in references))

    with Recording(long_recording) as source, closing(open_engine(bundle, threads=1)) as engine:
        run_pairs(source, Counted(engine, source), bundle, tmp_path / "o.h5", observe=observe)
    assert 1 <= most <= 3


@pytest.mark.parametrize("count", ["0", "9", "-1"])
def test_a_number_out_of_range_is_one_line(recording: Path, tmp_path: Path, count: str) -> None:
    done = usert("run", recording, "--out", tmp_path / "o.h5", "--at-once", count)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"usert: --at-once: got {count}, expected 1 to 8\n"
    assert names(tmp_path) == ["rec.h5"]
