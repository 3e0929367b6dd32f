"""What a benchmark found, as text that lines up and as JSON and CSV that parse."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from usert.bundle import packaged_bundles
from usert.errors import OptionError
from usert.runtime.bench.accuracy import Difference
from usert.runtime.bench.critical_rate import CriticalRate
from usert.runtime.bench.plot import draw_plot, scale_ms
from usert.runtime.bench.rate_search import Threshold
from usert.runtime.bench.report import flat, table, to_csv, to_json, told, write
from usert.runtime.bench.result import Accuracy, Report, Result, Row, to_row
from usert.runtime.bench.roofline import Cost, Rates
from usert.runtime.bench.worker import Memory, Variant
from usert.runtime.bench.workload import Measurement, Workload

RATES = Rates(flops=1e11, bytes=1e10)
CLOSED, PACED = Workload(seconds=1), Workload(seconds=1, rate_hz=50.0)
MACHINE: dict[str, Any] = {
    "cpu": "A CPU", "cores": 2, "clock_mhz": None, "governor": None, "memory_gb": None, "gpu": None, "system": "S",
    "load": None, "python": "3", "libraries": {"numpy": "2"}, "usert": "0", "commit": None,
}  # fmt: skip


def measurement(ms: float = 20.0, count: int = 10, **changes: Any) -> Measurement:
    fields = {
        "lead_ms": 3 * ms,
        "latency_ms": (ms,) * count,
        "engine_ms": (ms,) * count,
        "seconds": ms * count / 1e3,
    }
    return Measurement(**(fields | {"cpu_s": 0.033 * (count + 1)} | changes))  # type: ignore[arg-type]


def result(engine: str = "openvino", **changes: Any) -> Result:
    variant = Variant(bundle=Path("/b/default"), engine=engine, precision="int8", shape=(512, 128), threads=2)
    distance = Difference(
        max_abs_displacement_samples=0.1,
        rms_displacement_samples=0.002,
        max_abs_strain=0.001,
        rms_strain_percent=0.003,
        max_abs_quality=0.1,
    )
    fields: dict[str, Any] = {
        "variant": variant,
        "measurements": (measurement(), measurement()),
        "memory": Memory(rss_mb=300.4, gpu_mb=None),
        "accuracy": Accuracy(difference=distance, truth_samples=0.02),
        "cost": Cost(flops=1e9, bytes=1e6, layers=3),
        "rates": RATES,
    }
    return Result(**(fields | changes))


def row(workload: Workload = CLOSED, **changes: Any) -> Row:
    return to_row(result(**changes), workload, wire=False)


def report(*rows: Row) -> Report:
    return Report(
        mode="closed loop",
        machine=MACHINE,
        rates=RATES,
        rows=list(rows),
        absent={"tensorrt": "no"},
        notes=["n"],
    )


def test_figures_are_those_of_all_turns_without_their_first_frames() -> None:
    got = row()
    assert got["frames"] == 20
    assert got["frames_per_s"] == pytest.approx(50)
    assert got["p50_ms"] == got["max_ms"] == 20
    assert got["cpu_ms"] == pytest.approx(33)
    assert got["floor_ms"] == pytest.approx(10)
    assert got["times_floor"] == pytest.approx(2)
    assert got["floor_by"] == "FLOPs"
    assert got["after_pause_p50_ms"] is None
    assert row(replace(CLOSED, pause_s=1.0))["after_pause_p50_ms"] == 60


def test_a_row_has_the_same_keys_whatever_was_measured() -> None:
    bare = row(opened=None, memory=None, accuracy=None, cost=None, rates=None, measurements=())
    failed = row(error="wrong answer: of another")
    assert bare.keys() == failed.keys() == row(PACED).keys()
    assert failed["p50_ms"] is failed["cpu_ms"] is failed["times_floor"] is None
    assert failed["displacement_rms_samples"] == 0.002


@pytest.mark.parametrize(
    ("measurements", "queue"),
    [
        ((measurement(), measurement()), "keeps up"),
        ((measurement(), measurement(dropped=5)), "drops"),
        ((measurement(waiting=3), measurement(waiting=1)), "grows"),
        ((measurement(latency_ms=tuple(map(float, range(20, 220, 20)))),), "grows"),
    ],
)
def test_what_became_of_the_queue_is_a_word(measurements: tuple[Measurement, ...], queue: str) -> None:
    assert row(PACED, measurements=measurements)["queue"] == queue


def test_a_queue_that_grows_and_frames_that_are_dropped_are_told_in_words() -> None:
    lines = "\n".join(
        told(
            report(
                row(PACED, measurements=(measurement(waiting=3),)),
                row(PACED, measurements=(measurement(dropped=11),)),
                row(PACED),
            )
        )
    )
    assert (
        "512x128 openvino int8: the queue grows: the source is faster than the engine, which answers 50"
        in lines
    )
    assert "50 % of the frames were dropped for newer ones" in lines
    assert "not here: tensorrt" in lines


def test_the_fastest_of_each_shape_is_told_as_options() -> None:
    slow = (measurement(30.0),)
    variants = row(measurements=slow), row(engine="onnxruntime")
    assert "512x128: the fastest here: --engine onnxruntime --precision int8" in told(report(*variants))
    small = row()
    small["bundle"] = str(packaged_bundles()["small"])
    lines = told(report(variants[0], small))
    assert "512x128: the fastest here: --bundle small --engine openvino --precision int8" in lines
    assert "the fastest" not in "\n".join(told(report(row()))), "there is no choice"
    late, prompt = row(engine="onnxruntime"), row()  # at the scanner's own rate: the same frames a second
    late |= {"queue": "keeps up", "p50_ms": 30.0, "frames_per_s": 20.01}
    prompt |= {"queue": "keeps up", "p50_ms": 20.0, "frames_per_s": 20.0}
    assert "512x128: the fastest here: --engine openvino --precision int8" in told(report(late, prompt))


def critical(
    low_hz: float | None = 45.0, high_hz: float | None = 50.0, *, held: bool = True, run: bool = True
) -> Row:
    found = CriticalRate(
        rate_hz=45.0,
        held=held,
        limit_ms=40.0,
        threshold=Threshold(hz=47.0, low_hz=low_hz, high_hz=high_hz, trials=17),
        trial_s=4.0,
        run=measurement(rss_mb=(300.0,) * 30 + (301.0,) * 31) if run else None,
    )
    return row(PACED, critical=found, measurements=() if found.run is None else (found.run,))


def test_a_critical_rate_is_told_in_words_with_its_ends() -> None:
    lines = told(report(critical(), critical(None), critical(high_hz=None), critical(None, None, held=False)))
    sentences = [line for line in lines if "half of the trials" in line]
    assert sentences[0] == (
        "512x128 openvino int8, 2 threads: holds 45 frames a second (in 0.2 s 100 % of the frames had their image "
        "within 40 ms; age p50 20 ms, p99 20 ms; memory 300 to 301 MB); half of the trials are held at 45 to 50 a "
        "second (90 % probability, 17 trials)"
    )
    assert "held below 50 a second" in sentences[1]
    assert "held beyond 45 a second" in sentences[2]
    assert "does not hold 45 frames a second" in sentences[3]
    hopeless = critical(None, 45.0, held=False, run=False)
    assert "holds no rate, not even 45 frames a second within 40 ms (17 trials)" in "\n".join(
        told(report(hopeless))
    )


def test_a_search_that_could_not_be_ended_tells_what_is_known() -> None:
    found = CriticalRate(
        rate_hz=45.0,
        held=False,
        limit_ms=40.0,
        threshold=Threshold(hz=47.0, low_hz=40.0, high_hz=None, trials=9),
        trial_s=4.0,
        fault="usert serve ended with exit code -9: no message",
    )
    begun = replace(found, threshold=Threshold(hz=47.0, low_hz=None, high_hz=None, trials=0))
    lines = "\n".join(told(report(row(PACED, critical=found), row(PACED, critical=begun))))
    assert (
        "2 threads: no rate is confirmed: usert serve ended with exit code -9: no message; so far half of the trials "
        "are held beyond 40 a second (90 % probability, 9 trials)" in lines
    )
    assert "exit code -9: no message; no rate was tried" in lines


def test_the_row_of_a_critical_rate_is_of_the_run_that_confirmed_it() -> None:
    found, failed = critical(), critical(held=False)
    assert (found["rate_hz"], found["held_hz"], failed["held_hz"]) == (45.0, 45.0, None)
    assert (found["rss_begin_mb"], found["rss_end_mb"]) == (300.0, 301.0)
    assert 0 < found["rss_mb_per_min"] < 2
    assert found["late_share"] == 0
    assert found["mode"] == "45 frames/s, newest wins"
    assert critical(run=False).keys() == found.keys() == row().keys()


def test_the_table_lines_up_and_leaves_out_what_nobody_has() -> None:
    heading, *lines = table([row(), row(engine="onnxruntime", measurements=(measurement(2000.0),))])
    assert "GPU MB" not in heading
    assert "queue" not in heading
    assert {len(line) for line in (heading, *lines)} == {len(heading)}
    at = heading.index("p50 ms") + len("p50 ms")
    assert [line[:at].split()[-1] for line in lines] == ["20", "2000"]


def test_an_error_stands_where_the_figures_would() -> None:
    wrong = table([row(), row(engine="onnxruntime", error="wrong answer: far off")])[-1]
    assert wrong.split("  ")[0] == "512x128"
    assert wrong.endswith("int8       wrong answer: far off")


def test_json_is_one_line_and_has_no_number_that_json_lacks() -> None:
    odd = row(accuracy=Accuracy(difference=None, truth_samples=float("nan")))
    text = to_json(report(odd))
    assert "\n" not in text
    tree = json.loads(text)
    assert tree["benchmark"] == "usert bench"
    assert tree["format"] == 1
    assert tree["rows"][0]["truth_rms_samples"] is None
    assert tree["rows"][0]["p50_ms"] == 20
    assert tree["cpu_rates"] == {"flops": 1e11, "bytes": 1e10}


def test_csv_has_a_line_a_row_without_nesting() -> None:
    staged = measurement(stages_ms={"engine": (1.0, 2.0)})
    read = list(csv.DictReader(io.StringIO(to_csv(report(row(PACED, measurements=(staged,)), row())))))
    assert [line["p50_ms"] for line in read] == ["20.0", "20.0"]
    assert [line["stage_engine_p50_ms"] for line in read] == ["1.0", ""]
    assert read[0].keys() == flat(row()).keys()


def colour_ends(image: Image.Image, colour: tuple[int, int, int], left: int = 290) -> list[int]:
    """The last column of that colour in each run of lines that have it, right of the names."""
    is_colour = (np.asarray(image)[:, left:] == colour).all(axis=2)
    ends = [int(np.flatnonzero(line)[-1]) if line.any() else -1 for line in is_colour]
    return [end for end, before in zip(ends[1:], ends[:-1], strict=True) if end >= 0 and before < 0]


def test_bars_are_as_long_as_their_medians_and_the_floor_is_where_it_is() -> None:
    rows = [
        row(measurements=(measurement(40.0),)),
        row(engine="onnxruntime", measurements=(measurement(20.0),)),
        row(engine="torch", error="wrong"),
    ]
    image = draw_plot(rows, title="A title")
    long, short = colour_ends(image, (72, 116, 184))
    origin = 4  # of the axis, in the part that is looked at
    assert (long - origin) / (short - origin) == pytest.approx(2, rel=0.03)
    floors = colour_ends(image, (200, 70, 50))
    assert floors[0] == floors[1]
    assert (floors[0] - origin) / (short - origin) == pytest.approx(0.5, abs=0.02)


def test_one_frame_far_out_does_not_squeeze_the_bars() -> None:
    calm, spike = row(), row(measurements=(measurement(20.0, 200), measurement(20.0, 1, latency_ms=(900.0,))))
    assert spike["max_ms"] == 900
    assert scale_ms([calm, spike]) < 30
    assert scale_ms([row(error="x")]) > 0


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot write"):
        write(tmp_path / "none" / "a.csv", "")


def test_a_full_disk_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    write(path, "old")

    def no_room(target: Path, text: str, encoding: str) -> int:
        target.write_bytes(b"ne")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", no_room)
    with pytest.raises(OptionError, match=r"^cannot write .*a\.csv: No space left on device$"):
        write(path, "new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.csv"]


def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    write(Path("/dev/null"), "new")
    assert Path("/dev/null").is_char_device()
    (tmp_path / "link").symlink_to("/dev/full")
    for path in (Path("/dev/full"), tmp_path / "link"):
        with pytest.raises(OptionError, match=f"^cannot write {path}: No space left on device$"):
            write(path, "new")
