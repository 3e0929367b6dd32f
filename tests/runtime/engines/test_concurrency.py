"""Several pairs at once in one engine: as many as it allows, each with the answer that it has alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live import TIMEOUT_S
from numpy.typing import NDArray
from tiny_bundle import tiny_bundle

from usert.bundle import Bundle, default_bundle_path
from usert.errors import EngineError
from usert.frame import Scan
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines import open_engine
from usert.runtime.engines.classical import ClassicalEngine
from usert.runtime.engines.concurrency import in_turns, pairs_at_once

IQ = Scan(fs_hz=10e6, f0_hz=5e6, sound_speed_m_s=1540, line_pitch_mm=0.3, demodulation_hz=5e6)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "best"])
def test_pairs_at_once_have_the_answers_that_they_have_alone(name: str) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(256, 48), peak_strain=0.01), seed=3)
    frames = [scanner.frame(k).samples for k in range(9)]
    bundle = Bundle.load(default_bundle_path(), verify=False)

    def answers(at_once: int, threads: int) -> list[NDArray[np.float32]]:
        with (
            closing(open_engine(bundle, engine=name, threads=threads, at_once=at_once)) as engine,
            ThreadPoolExecutor(at_once) as pool,
        ):
            engine.warm_up((256, 48), scanner.scan)
            run: Callable[[int], Any] = lambda k: engine.run(frames[k], frames[k + 1], scanner.scan)  # noqa: E731
            return [estimate.displacement for estimate in pool.map(run, range(8))]

    for alone, beside in zip(answers(1, 1), answers(2, 2), strict=True):
        np.testing.assert_array_equal(alone, beside)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "best"])
def test_by_default_small_frames_run_two_at_once_where_there_is_a_thread_for_each(
    name: str, tmp_path: Path
) -> None:
    bundle = tiny_bundle(tmp_path / "b")

    def allowed(shape: tuple[int, int], scan: Scan | None = None, **options: int | None) -> int:
        with closing(open_engine(bundle, engine=name, **options)) as engine:  # type: ignore[arg-type]
            return pairs_at_once(engine, shape, scan)

    assert allowed((1024, 256), threads=2, at_once=None) == allowed((1024, 256), threads=8, at_once=None) == 2
    assert allowed((1920, 768), threads=2, at_once=None) == 1
    assert allowed((1024, 256), threads=1, at_once=None) == 1
    assert allowed((512, 128), threads=2) == 1  # unless asked for
    assert allowed((1920, 768), threads=2, at_once=4) == 4
    assert allowed((512, 256), IQ, threads=2, at_once=None) == 2
    assert allowed((512, 768), IQ, threads=2, at_once=None) == 1  # 512 rows of IQ are more of RF


def test_a_method_without_a_bundle_runs_one_pair_at_a_time() -> None:
    assert pairs_at_once(ClassicalEngine("ncc", strain_window_samples=65), (64, 16)) == 1


@pytest.mark.parametrize("at_once", [0, 9, -1])
def test_a_number_out_of_range_is_refused(at_once: int, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=f"^pairs at once: got {at_once}, expected 1 to 8$"):
        open_engine(tiny_bundle(tmp_path / "b"), at_once=at_once)


def test_sessions_run_at_once_and_one_more_waits_for_the_first_that_is_free() -> None:
    both_run, over = threading.Barrier(2), threading.Semaphore(0)
    running = threading.Semaphore(2)

    def session(inputs: int) -> int:
        assert running.acquire(blocking=False), "more calls than sessions"
        if inputs < 2:
            both_run.wait(TIMEOUT_S)
        assert over.acquire(timeout=TIMEOUT_S)
        running.release()
        if inputs == 1:
            raise ValueError("one")
        return inputs

    run = in_turns([session, session])
    with ThreadPoolExecutor(3) as pool:
        first, second, third = (pool.submit(run, k) for k in range(3))
        over.release(3)
        assert (first.result(TIMEOUT_S), third.result(TIMEOUT_S)) == (0, 2)
        with pytest.raises(ValueError, match="one"):
            second.result(TIMEOUT_S)
    assert [run(k) for k in (5, 6) if over.release() is None] == [5, 6]  # a session that failed runs again
