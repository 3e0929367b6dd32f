"""The whole path in one command, its picture, and what is left behind: nothing."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from live import TIMEOUT_S
from PIL import Image
from tiny_bundle import QUALITY, STRAIN

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, OptionError
from usert.runtime.protocol.age import Readings
from usert.runtime.sources.demo import Demo, DemoConfig, DemoReport
from usert.runtime.sources.simulated import Cycle, LesionRatio, simulated_scanner

WAIT_S = 6 * TIMEOUT_S


def ignore(text: str) -> None:
    """What the demo says."""


def test_the_demo_ends_in_a_picture_and_figures(bundle: Bundle, tmp_path: Path) -> None:
    lines: list[str] = []
    kept: list[str] = []
    page: list[bytes] = []

    def keep(text: str) -> None:
        kept.append(text)
        if address := re.search(r"open (http://127\.0\.0\.1:\d+\S*) in a browser", text):
            with urlopen(address[1], timeout=TIMEOUT_S) as answer:
                page.append(answer.read())

    config = DemoConfig(out=tmp_path / "demo.png", seconds=1.0, bundle=bundle.folder)
    report = Demo(config, lines.append, keep).run()
    assert len(page) == 1
    assert b"<html" in page[0]
    assert "dark disc" in kept[-1]
    assert report.picture == config.out
    with Image.open(config.out) as picture:
        assert min(picture.size) > 100
    assert report.readings.count > 1
    assert report.readings.ages_exact, "source, server and client share one clock"
    assert report.mean_quality == QUALITY
    assert report.strain_ratio == 1.0, f"the tiny bundle says {STRAIN} everywhere"
    assert not report.true_ratio >= 1, "it is NaN where the two frames saw the tissue in one state"
    assert any(line.startswith("live") for line in lines)
    for expected in ("images", "a second", "age p50", "p99", "dropped", "mean quality 0.75"):
        assert expected in str(report)
    assert re.search(r"\(true (0\.\d\d|nan)\)", str(report))


def test_it_says_whether_it_kept_up_with_its_scanner() -> None:
    readings = Readings(
        count=400, rate_hz=20.0, mean_rate_hz=19.96, age_p50_ms=30.0, age_p99_ms=90.0, ages_exact=True
    )
    report = DemoReport(readings=readings, rate_hz=20.0)
    assert report.pace == "keeps up: 20.0 images of 20 frames a second, age p50 0.60 frame times (limit 1.5)"
    late = replace(report, readings=replace(readings, age_p50_ms=76.0))
    slow = replace(report, readings=replace(readings, mean_rate_hz=19.0))
    ageless = replace(report, readings=replace(readings, age_p50_ms=math.nan))
    for each in (late, slow, ageless):
        assert each.pace.startswith("does not keep up: ")


def test_a_server_that_fails_ends_the_demo_with_its_line(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.folder, folder)
    config = DemoConfig(out=tmp_path / "demo.png", bundle=folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(EngineError, match=r"serve .*exit code 1: .*bundle "):
        Demo(config, ignore, ignore).run()
    assert not config.out.exists()


def test_stop_before_the_start_ends_it_without_a_picture(bundle: Bundle, tmp_path: Path) -> None:
    config = DemoConfig(out=tmp_path / "demo.png", bundle=bundle.folder)
    demo = Demo(config, ignore, ignore)
    demo.stop()
    assert str(demo.run()) == "0 images, stopped before a picture could be taken"
    assert not config.out.exists()


def test_stop_from_another_thread_keeps_what_was_seen(bundle: Bundle, tmp_path: Path) -> None:
    config = DemoConfig(out=tmp_path / "demo.png", seconds=WAIT_S, bundle=bundle.folder, page=False)
    live = threading.Event()
    demo = Demo(config, lambda text: live.set() if text.startswith("live") else None, ignore)

    def stop_when_live() -> None:
        live.wait(WAIT_S)
        demo.stop()

    stopper = threading.Thread(target=stop_when_live)
    stopper.start()
    report = demo.run()
    stopper.join(TIMEOUT_S)
    assert report.readings.count >= 1
    assert config.out.exists()


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_ctrl_c_ends_usert_demo_and_its_children(bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "usert", "demo", "--out", str(tmp_path / "demo.png")]
    command += ["--seconds", "600", "--bundle", str(bundle.folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("live"):
                    break
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all of them at once
            rest, errors = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    assert re.search(r"^demo: \d+ frames, \d+ image", rest, re.MULTILINE)
    assert re.search(r"^demo: (keeps|does not keep) up: ", rest, re.MULTILINE)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seconds": 0.0}, "--seconds"),
        ({"seconds": float("nan")}, "--seconds"),
        ({"size": "vast"}, "small"),
        ({"out": Path("demo.txt")}, "^--out: got demo.txt, expected"),
        ({"rate_hz": 0.0}, "^rate: got 0 Hz, expected more than 0"),
        ({"rate_hz": float("nan")}, "^rate: got nan Hz"),
        ({"rate_hz": 0.5}, "^--rate: got 0.5 Hz, expected at least 1 with lag 4"),
        (
            {"lag": 90},
            "^--rate: got 20 Hz, expected at least 86 with lag 90: frames of a pair are at most 1000 ms",
        ),
        ({"lag": 0}, "^lag: got 0, expected 1 to 256 frames"),
        ({"bundle": Path("nowhere")}, "^bundle nowhere: no such folder"),
        ({"out": Path("/nowhere/demo.png")}, "^--out: got /nowhere/demo.png, but there is no folder"),
    ],
)
def test_impossible_options_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises((OptionError, BundleError), match=message):
        DemoConfig(**({"out": Path("demo.png")} | fields))  # type: ignore[arg-type]


def test_the_simulated_stream_goes_round_and_knows_its_truth() -> None:
    scanner = simulated_scanner("small")
    cycle, period = Cycle(scanner), scanner.period_frames
    made = iter(range(3))
    cycle.simulate(stopping=lambda: next(made, None) is None)
    stream = cycle.frames()
    frames = [next(stream) for _ in range(5)]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 0, 1]
    np.testing.assert_array_equal(frames[1].samples, scanner.frame(1).samples)

    lesion = LesionRatio(scanner)
    # the load is uniform far away; near the lesion it is not, so the ratio of means is not quite Eshelby's
    assert lesion.true(period, period + 1) == lesion.true(0, 1)
    assert abs(lesion.true(10, 11) - scanner.strain_ratio) < 0.1
    assert lesion.of(np.where(scanner.lesion_mask(), 0.5, 1.0)) == 0.5
    assert np.isnan(lesion.of(np.zeros((512, 128))))
