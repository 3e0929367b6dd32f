"""A whole benchmark on a tiny bundle: every variant checked, then timed, and nothing timed that is wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_bundle import tiny_bundle

from usert.bundle import Bundle, default_bundle_path
from usert.errors import BundleError, EngineError, OptionError
from usert.runtime.bench.benchmark import Benchmark
from usert.runtime.bench.config import BenchConfig, parse_rates
from usert.runtime.bench.live_server import LiveServer
from usert.runtime.bench.monitor_client import SilentError
from usert.runtime.bench.rates import cpu_rates
from usert.runtime.bench.report import told as as_lines
from usert.runtime.bench.result import Report, Row
from usert.runtime.bench.roofline import Rates
from usert.runtime.bench.worker import Opener
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate

SHAPE = (64, 32)
rates_once = cache(cpu_rates)


class Offset:
    """A real engine whose displacement is off by a tenth of a sample, or which dies after some runs."""

    def __init__(self, engine: Engine, *, by: float = 0.0, runs: int | None = None) -> None:
        self._engine, self._by, self._left = engine, by, runs
        self.name, self.strain_window_at = engine.name, engine.strain_window_at
        self.warm_up, self.close = engine.warm_up, engine.close

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: object = None) -> Estimate:
        if self._left is not None:
            if self._left == 0:
                os._exit(3)
            self._left -= 1
        estimate = self._engine.run(reference, current)
        return replace(estimate, displacement=estimate.displacement + np.float32(self._by))


def one_is_wrong(bundle: Bundle, *, engine: str, **options: Any) -> Engine:
    """OpenVINO is, whichever engine it really is."""
    opened = open_engine(bundle, engine="onnxruntime", **options)
    return Offset(opened, by=0.1) if engine == "openvino" else opened


def one_dies(bundle: Bundle, *, engine: str, **options: Any) -> Engine:
    """As its process does when it is out of memory."""
    opened = open_engine(bundle, engine="onnxruntime", **options)
    return Offset(opened, runs=2) if engine == "openvino" else opened


def bench(
    bundle: Bundle, opener: Opener = open_engine, said: list[str] | None = None, **changes: Any
) -> Report:
    fields = {
        "bundles": (bundle.folder,),
        "engines": ("onnxruntime",),
        "shapes": (SHAPE,),
        "seconds": 0.1,
        "rounds": 2,
    }
    config = BenchConfig(**(fields | {"threads": 1} | changes))  # type: ignore[arg-type]
    say = [].append if said is None else said.append
    return Benchmark(config, opener, say, measure_rates=rates_once).run()


def by_engine(report: Report) -> dict[str, Row]:
    return {row["engine"]: row for row in report.rows}


def test_a_row_has_time_accuracy_memory_and_what_it_ran_on(bundle: Bundle) -> None:
    (row,) = bench(bundle).rows
    assert (row["shape"], row["engine"], row["precision"]) == ("64x32", "onnxruntime", "float32")
    assert row["runs_on"] == "onnxruntime CPUExecutionProvider"
    assert row["error"] is None
    assert row["frames"] >= 4
    assert row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] <= row["p999_ms"] <= row["max_ms"]
    assert row["displacement_rms_samples"] == row["strain_rms_percent"] == 0
    assert row["truth_rms_samples"] > 0
    for name in ("warm_up_s", "first_ms", "cpu_ms", "rss_mb"):
        assert row[name] is None or row[name] > 0
    assert row["queue"] is row["dropped"] is None, "in a closed loop nothing waits"


def test_the_machine_stands_beside_the_figures(bundle: Bundle) -> None:
    report = bench(bundle)
    for name in ("cpu", "cores", "clock_mhz", "governor", "system", "libraries", "usert", "commit", "load"):
        assert name in report.machine
    assert report.machine["libraries"]["numpy"] == np.__version__
    assert report.rates.flops > 0


def test_a_wrong_answer_is_an_error_and_no_time(bundle: Bundle) -> None:
    said: list[str] = []
    report = bench(bundle, one_is_wrong, said, engines=("openvino", "onnxruntime"))
    wrong, right = by_engine(report)["openvino"], by_engine(report)["onnxruntime"]
    assert (
        "max_abs_displacement_samples: got 0.1 from the float32 reference, float32 allows 0" in wrong["error"]
    )
    assert wrong["p50_ms"] is wrong["frames_per_s"] is None
    assert right["error"] is None
    assert any("wrong answer" in line for line in said)


def test_a_process_that_dies_costs_its_own_row_only(bundle: Bundle) -> None:
    rows = by_engine(bench(bundle, one_dies, engines=("openvino", "onnxruntime")))
    assert "its process ended with exit code 3" in rows["openvino"]["error"]
    assert rows["openvino"]["p50_ms"] is None
    assert rows["onnxruntime"]["p50_ms"] > 0


def test_at_a_rate_frames_are_dropped_or_wait(bundle: Bundle) -> None:
    (newest,) = bench(bundle, rate_hz=10_000.0).rows
    assert newest["mode"] == "10000 frames/s, newest wins"
    assert newest["queue"] in ("drops", "keeps up")
    (slow,) = bench(bundle, rate_hz=20.0, pause_s=0.05, every_frame=True).rows
    assert slow["mode"] == "20 frames/s, every frame, pauses of 0.05 s"
    assert slow["dropped"] == 0
    assert slow["after_pause_max_ms"] >= slow["after_pause_p50_ms"] > 0


def test_bundles_stand_side_by_side_and_the_first_is_the_measure(bundle: Bundle, tmp_path: Path) -> None:
    second = tiny_bundle(tmp_path / "second", shapes=(SHAPE,))
    rows = bench(bundle, bundles=(bundle.folder, second.folder)).rows
    assert [row["bundle"] for row in rows] == [str(bundle.folder), str(second.folder)]
    assert [row["displacement_rms_samples"] for row in rows] == [0, 0]


def test_shapes_are_those_of_the_bundle_unless_named(bundle: Bundle, tmp_path: Path) -> None:
    static = tiny_bundle(tmp_path / "static", shapes=(None, (96, 32), SHAPE))
    assert [row["shape"] for row in bench(static, shapes=()).rows] == ["64x32", "96x32"]
    with pytest.raises(OptionError, match="--shape: got none"):
        bench(bundle, shapes=())


def test_a_baseband_bundle_for_one_shape_only_is_measured(tmp_path: Path) -> None:
    default = default_bundle_path()
    manifest = json.loads((default / "manifest.json").read_text())
    manifest["graphs"] = [graph for graph in manifest["graphs"] if graph["shape"] == [512, 128]]
    for path in default.iterdir():
        if path.name != "manifest.json":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    report = bench(Bundle.load(tmp_path), shapes=((512, 128),), precisions=("float32",))
    (row,) = report.rows
    assert row["shape"] == "512x128"


def test_engines_that_do_not_work_here_are_named_and_left_out(bundle: Bundle) -> None:
    report = bench(bundle, engines=())
    assert "onnxruntime" in by_engine(report)
    for name in report.absent:
        assert name.split()[0] not in by_engine(report)


def test_an_engine_that_was_asked_for_must_work(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"CUDAExecutionProvider.*expected "):
        bench(bundle, engines=("onnxruntime-cuda",))
    with pytest.raises(EngineError, match=r"^bench: .* expected int8"):
        bench(bundle, precisions=("int8",))
    with pytest.raises(BundleError, match=r"^bundle .*/none: "):
        bench(bundle, bundles=(bundle.folder / "none",))


def test_over_sockets_the_answer_is_compared_too_and_stages_add_up(bundle: Bundle) -> None:
    (row,) = bench(bundle, wire=True, rate_hz=50.0, seconds=0.4).rows
    assert row["mode"] == "over sockets, 50 frames/s, newest wins"
    assert row["error"] is None
    assert row["displacement_rms_samples"] == 0
    assert list(row["stages_ms"]) == ["arrive", "wait", "engine", "publish", "network"]


def test_a_critical_rate_is_sought_and_confirmed_over_sockets(bundle: Bundle) -> None:
    said: list[str] = []
    report = bench(bundle, said=said, critical=True, wire=True, seconds=0.8, rounds=8, hold_s=0.2)
    (row,) = report.rows
    assert report.mode == "over sockets, at the critical rate, newest wins"
    assert row["error"] is None
    assert 1 <= row["trials"] <= 8
    assert row["limit_ms"] == pytest.approx(2e3 / row["rate_hz"])
    assert row["held_hz"] in (None, row["rate_hz"])
    if row["held_s"] is not None:
        assert row["frames"] >= 3
        assert (row["held_hz"] is None) or row["p99_ms"] <= row["limit_ms"]
    trials = [line for line in said if "frames/s: " in line]
    assert len(trials) == row["trials"]


@pytest.mark.parametrize("times", [1, 3])
def test_a_search_starts_a_silent_server_once_more_and_goes_on_without_it(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Of two shapes; at three times in a row the first has none, and the second is started once more."""
    silent = iter([True] * times)
    wait = LiveServer._until_images_come

    def until_images_come(server: LiveServer) -> None:
        if next(silent, False):
            raise SilentError("no image for 10 s")
        wait(server)

    monkeypatch.setattr(LiveServer, "_until_images_come", until_images_come)
    shapes = SHAPE, (128, 32)
    report = bench(bundle, shapes=shapes, critical=True, wire=True, seconds=0.8, rounds=2, hold_s=0.2)
    errors = [row["error"] for row in report.rows]
    assert errors == ([None, None] if times == 1 else [None, "no image for 10 s"])
    assert report.rows[0]["trials"] == 2
    if times > 1:
        assert [row["shape"] for row in report.rows] == ["128x32", "64x32"]


@pytest.mark.parametrize("wire", [False, True])
def test_images_follow_and_what_is_compared_starts_from_nothing(wire: bool) -> None:
    told = {"wire": True, "rate_hz": 20.0} if wire else {"at_once": 2, "threads": 2}
    bundle = Bundle.load(default_bundle_path(), verify=False)
    report = bench(bundle, follow=True, shapes=((256, 32),), precisions=("float32",), seconds=1, **told)
    (row,) = report.rows
    assert (row["error"], row["follow"], row["at_once"]) == (None, True, 1 if wire else 2)
    assert row["displacement_rms_samples"] < 1e-4
    assert row["p50_ms"] > 0
    assert row["followed_share"] is None if wire else row["followed_share"] > 0.4
    assert any("followed %" in line for line in as_lines(report)) != wire


def test_a_bundle_without_graphs_that_follow_is_refused(bundle: Bundle) -> None:
    with pytest.raises(
        OptionError, match=r"^--follow: got bundle .*, expected one of `usert export --follow`$"
    ):
        bench(bundle, follow=True)


@pytest.mark.parametrize("wire", [False, True])
def test_frames_of_iq_are_measured_beside_those_of_rf(bundle: Bundle, wire: bool) -> None:
    told = {"rate_hz": 50.0, "seconds": 0.4} if wire else {}
    (row,) = bench(bundle, wire=wire, iq=3, **told).rows
    assert row["shape"] == "64x32 IQ/3"
    assert row["error"] is None
    assert row["displacement_rms_samples"] == 0
    assert row["p50_ms"] > 0
    assert row["truth_rms_samples"] is None or row["truth_rms_samples"] > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"iq": 9}, "--iq: got 9, expected 1 to 8"),
        ({"engines": ("fast",)}, "--engine: got 'fast', expected .*openvino.*torch"),
        ({"precisions": ("int4",)}, "--precision: got 'int4', expected float32, float16, int8"),
        ({"threads": 0}, "--threads: got 0"),
        ({"threads": 20_000}, "--threads: got 20000, expected 1 to 1024"),
        ({"seconds": float("nan")}, "--seconds: got nan"),
        ({"rounds": 0}, "--rounds: got 0"),
        ({"rate_hz": 0.0}, "--rate: got 0 Hz"),
        ({"pause_s": -1.0}, "--pause: got -1 s"),
        ({"every_frame": True}, "--every-frame: got no --rate"),
        ({"rf": "tcp://127.0.0.1:1"}, "--rf: expected --wire"),
        (
            {"rf": "tcp://127.0.0.1:1", "wire": True, "rate_hz": 5.0},
            "--rf: expected --wire, and none of --rate",
        ),
        ({"rf": "tcp://10.0.0.1:1", "wire": True}, "--insecure"),
        ({"limit_ms": 50.0}, "--limit-ms, --hold: expected --critical-rate"),
        ({"critical": True, "wire": True, "rate_hz": 5.0}, "--critical-rate: expected none of --rate"),
        ({"critical": True, "wire": True, "limit_ms": 0.0}, "--limit-ms: got 0"),
        ({"critical": True, "wire": True, "hold_s": float("inf")}, "--hold: got inf"),
    ],
)
def test_impossible_options_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        BenchConfig(bundles=(), **fields)


def test_rates_of_a_gpu_are_as_a_person_writes_them() -> None:
    assert parse_rates("790,4300") == Rates(flops=790e12, bytes=4300e9)
    for wrong in ("790", "fast,slow", "0,1", "1,inf", "1,2,3"):
        with pytest.raises(OptionError, match="--gpu-peak"):
            parse_rates(wrong)
