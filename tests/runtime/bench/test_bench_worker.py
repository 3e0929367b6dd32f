"""A worker in a process of its own: it estimates as the engine does, and ends with its parent."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from tiny_bundle import QUALITY, STRAIN

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, FrameError
from usert.runtime.bench.worker import Variant, Worker, resident_mb
from usert.runtime.bench.workload import Workload
from usert.runtime.engines import open_engine

SHAPE = (40, 12)
PAIR = tuple(np.random.default_rng(0).integers(-99, 99, (2, *SHAPE), dtype=np.int16))


def worker(bundle: Bundle, **changes: object) -> Worker:
    fields = {
        "bundle": bundle.folder,
        "engine": "onnxruntime",
        "precision": "float32",
        "shape": SHAPE,
        "threads": 1,
    }
    return Worker(Variant(**(fields | changes)), PAIR, open_engine)  # type: ignore[arg-type]


def test_it_answers_what_the_engine_answers(bundle: Bundle) -> None:
    with worker(bundle) as opened:
        assert opened.opened.runs_on == "onnxruntime CPUExecutionProvider"
        answer = opened.opened.answer
        np.testing.assert_array_equal(answer.displacement[1], PAIR[1].astype(np.float32) - PAIR[0])
        assert set(np.unique(answer.strain)) == {STRAIN}
        assert set(np.unique(answer.quality)) == {QUALITY}
        swapped = opened.run(PAIR[1], PAIR[0])
        np.testing.assert_array_equal(swapped.displacement[1], -answer.displacement[1])


def test_it_takes_turns_and_tells_its_own_memory(bundle: Bundle) -> None:
    with worker(bundle) as opened:
        assert opened.pid != os.getpid()
        for workload in (Workload(seconds=0.01), Workload(seconds=0.1, rate_hz=100.0)):
            measurement = opened.measure(workload)
            assert measurement.done >= 3
            assert measurement.cpu_s is not None
        rss_mb = opened.memory().rss_mb
        assert rss_mb is not None
        assert rss_mb == pytest.approx(resident_mb(opened.pid, peak=True), rel=0.01), (
            "it lives on between the two"
        )
    with pytest.raises(ProcessLookupError):
        os.kill(opened.pid, 0)


def test_what_the_engine_refuses_is_raised_here(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="expected int8"), worker(bundle, precision="int8"):
        pass
    with worker(bundle) as opened:
        with pytest.raises(FrameError, match="got shapes"):
            opened.run(PAIR[0], PAIR[1][:20])
        assert opened.run(*PAIR).strain.shape == SHAPE, "it goes on"


def test_a_process_that_dies_is_one_line(bundle: Bundle) -> None:
    with worker(bundle) as opened:
        os.kill(opened.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"40x12 onnxruntime float32: .* -9$"):
            opened.measure(Workload(seconds=0.01))
