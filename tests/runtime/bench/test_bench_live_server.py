"""Scanner, server and client for real: what they take, who falls behind, and who is silent."""

from __future__ import annotations

import itertools
import os
import signal
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from live import TIMEOUT_S, numbered_frame, running

from usert.bundle import Bundle
from usert.errors import EngineError
from usert.runtime.bench.image_times import STAGES
from usert.runtime.bench.live_server import LiveServer, _LateFrames
from usert.runtime.bench.monitor_client import SilentError
from usert.runtime.bench.worker import Variant
from usert.runtime.bench.workload import Workload
from usert.runtime.sources.replay import Replay, ReplayConfig

FRAMES = tuple(numbered_frame(k) for k in range(3))


def stage(bundle: Bundle, **changes: Any) -> LiveServer:
    variant = Variant(bundle=bundle.folder, engine="onnxruntime", precision="float32", shape=None, threads=1)
    return LiveServer(variant, **({"frames": FRAMES, "patience_s": TIMEOUT_S} | changes))


def pid_of(opened: LiveServer, name: str) -> int:
    process = opened._server if name == "server" else opened._scanner
    assert process is not None
    return process.pid


def test_an_image_goes_all_the_way_and_its_parts_are_its_age(bundle: Bundle) -> None:
    with stage(bundle) as opened:
        assert opened.opened.runs_on == "onnxruntime CPUExecutionProvider"
        assert opened.variant.shape == FRAMES[0].shape
        assert opened.pair is not None
        reference, current = (samples.astype(np.float32) for samples in opened.pair)
        np.testing.assert_array_equal(opened.opened.answer.displacement[1], current - reference)
        measurement = opened.measure(Workload(seconds=0.5, rate_hz=40.0))
        assert opened.ages_exact
        assert tuple(measurement.stages_ms) == STAGES
        parts = np.sum([measurement.stages_ms[name] for name in STAGES], axis=0)
        np.testing.assert_allclose(parts, measurement.latency_ms, atol=1e-6)
        rss_mb = opened.memory().rss_mb
        assert rss_mb is None or rss_mb > 1
        pids = [pid_of(opened, name) for name in ("server", "scanner")]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_source_that_is_too_fast_makes_the_newest_win(bundle: Bundle) -> None:
    with stage(bundle) as opened:
        measurement = opened.measure(Workload(seconds=0.3, rate_hz=10_000.0))
        assert measurement.dropped > 0
        assert not measurement.grows


def test_or_a_queue_grow_where_every_frame_is_wanted(bundle: Bundle) -> None:
    with stage(bundle, every_frame=True) as opened:
        measurement = opened.measure(Workload(seconds=0.3, rate_hz=10_000.0, every_frame=True))
        assert measurement.dropped == 0
        assert measurement.grows
        slow = opened.measure(Workload(seconds=0.3, rate_hz=20.0, every_frame=True))
        assert not slow.grows, "nothing of the measurement before is left"


def test_after_a_server_that_stalled_it_measures_again(bundle: Bundle) -> None:
    with stage(bundle, patience_s=0.5) as opened:
        os.kill(pid_of(opened, "scanner"), signal.SIGSTOP)
        with pytest.raises(SilentError):
            opened.measure(Workload(seconds=1.0, rate_hz=100.0))
        os.kill(pid_of(opened, "scanner"), signal.SIGCONT)
        run = opened.measure(Workload(seconds=0.5, rate_hz=40.0))
    assert run.done > 15, "and those of the first measurement are over"
    assert run.seconds < TIMEOUT_S


@pytest.mark.parametrize(
    ("name", "number", "error", "message"),
    [
        ("scanner", signal.SIGSTOP, SilentError, r"^simulated scanner: .* \d+ s after \d+ "),
        ("scanner", signal.SIGKILL, EngineError, "^simulated scanner: .* -9$"),
        ("server", signal.SIGKILL, EngineError, "^usert serve.*( -9: | monitor )"),
    ],
)
def test_who_falls_silent_is_named(
    bundle: Bundle, name: str, number: int, error: type[Exception], message: str
) -> None:
    with stage(bundle, patience_s=0.5) as opened:
        os.kill(pid_of(opened, name), number)
        with pytest.raises(error, match=message):
            opened.measure(Workload(seconds=1.0, rate_hz=100.0))


def test_a_scanner_of_ones_own_is_only_watched_until_it_stalls(bundle: Bundle) -> None:
    config = ReplayConfig(endpoint="tcp://127.0.0.1:0", rate_hz=100.0)
    endless = itertools.cycle(FRAMES)
    with (
        running(Replay(lambda: endless, config)) as replay,
        stage(bundle, frames=(), rf=replay.endpoint, patience_s=1.0) as opened,
    ):
        assert opened.pair is None
        assert opened.opened.answer.strain.shape == FRAMES[0].shape
        assert opened.measure(Workload(seconds=0.2)).done >= 3
        replay.stop()
        with pytest.raises(SilentError, match=r"^source tcp://.*: .* \d+ s after \d+ "):
            opened.measure(Workload(seconds=TIMEOUT_S))


def test_a_scanner_that_is_not_there_is_one_line(bundle: Bundle) -> None:
    absent = "tcp://127.0.0.1:9"
    with (
        pytest.raises(SilentError, match=f"^source {absent}: .* in \\d+ s, expected"),
        stage(bundle, frames=(), rf=absent, patience_s=0.5),
    ):
        pass


def test_a_server_whose_engine_refuses_every_pair_says_why(bundle: Bundle) -> None:
    wrong = stage(bundle)
    wrong.variant = replace(wrong.variant, precision="int8")
    with pytest.raises(EngineError, match="float32, expected int8"), wrong:
        pass


def test_a_measurement_is_stopped_once_too_many_frames_are_late_or_missing() -> None:
    workload = Workload(seconds=60, rate_hz=50, limit_ms=40, most_late=3)
    seen: list[Any] = [SimpleNamespace(sequence=9, age_ms=900.0, state="live")]  # before the measurement
    late = _LateFrames(seen, workload)
    for sequence, age_ms, state, too_many in (
        (10, 900.0, "live", False),
        (11, 39.0, "live", False),
        (12, 41.0, "live", False),
        (12, 41.0, "held", False),
        (15, 20.0, "live", False),
        (16, 41.0, "live", True),
    ):
        seen.append(SimpleNamespace(sequence=sequence, age_ms=age_ms, state=state))
        assert late.too_many == too_many
    assert not _LateFrames(seen[:0], replace(workload, most_late=None)).too_many
