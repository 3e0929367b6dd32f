"""`usert eval` as a person calls it, on recordings of the simulated scanner."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner, Result

from usert.bundle import default_bundle_path
from usert.cli import app
from usert.errors import FrameError, OptionError, RecordingError, UsertError
from usert.estimators import ESTIMATORS
from usert.evaluation.methods import open_methods
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import Recording, write_recording

LOOK = ("--homogeneous", "40:70,8:50", "--target", "100:150,24:40", "--background", "100:150,5:12")


def call(*arguments: str | Path) -> Result:
    """Run `usert eval`; an error of usert is raised as `main` would see it."""
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a press, with truth."""
    path = tmp_path_factory.mktemp("eval") / "sim.h5"
    scanner, count = SimulatedScanner(ScannerConfig(shape=(256, 64), peak_strain=0.03), seed=1), 14
    truths = (scanner.truth(k, k + 1) for k in range(count - 1))
    write_recording(path, (scanner.frame(k) for k in range(count)), truths)
    return path


def test_methods_against_truth_from_a_recording_to_a_page(recording: Path, tmp_path: Path) -> None:
    out, tree_file, text_file = (tmp_path / name for name in ("r.html", "r.json", "r.md"))
    result = call(
        recording, "--pairs", "0:9,2:11", *LOOK, "--method", "usert", "--method", "ncc",
        "--out", out, "--json", tree_file, "--markdown", text_file,
    )  # fmt: skip
    assert result.exit_code == 0
    assert result.stdout == f"2 pairs by usert, ncc: {out}\n"
    assert re.findall(r"^eval: (\d) of 4: sim.h5, 0 → 9, usert: CPU s ", result.stderr, re.MULTILINE) == ["1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.json", "r.md"]

    tree = json.loads(tree_file.read_text(encoding="utf-8"))
    (table,) = tree["tables"]
    network, matching = (
        next(row for row in table["rows"] if (row["pair"], row["method"]) == ("0 → 9", name))
        for name in ("usert", "ncc")
    )
    # the network follows the press, and better than block matching does
    assert network["axial RMSE (samples)"] < 0.1
    assert network["strain NRMSE"] < 0.5 * matching["strain NRMSE"]
    assert network["true SR"] == pytest.approx(0.46, abs=0.05)
    assert network["SR"] == pytest.approx(network["true SR"], abs=0.1)
    assert table["summary"]["strain NRMSE"]["usert"]["best_on"] >= 1  # of two; a corner of the second is lost
    bundle = next(method for method in tree["methods"] if method["name"] == "usert")
    assert len(bundle["weights_sha256"]) == 64
    page = out.read_text(encoding="utf-8")
    assert bundle["weights_sha256"] in page
    assert tree["recordings_sha256"][str(recording)] in page
    assert "True axial strain (%)" in page
    assert text_file.read_text(encoding="utf-8").startswith(
        "### sim.h5\n\n| pair | method | CPU s | axial RMSE"
    )


def test_a_bad_frame_costs_its_pairs_and_is_named(recording: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_bytes(recording.read_bytes())
    with h5py.File(bad, "a") as file:
        file["rf"][9] = 0
    words = ("--method", "ncc", "--out", tmp_path / "r.html", "--json", tmp_path / "r.json")
    result = call(bad, "--pairs", "0:9,2:11,9:10", *words)
    assert result.exit_code == 0
    line = f"{bad}: left out 2 pairs: 0:9, 9:10 (frame 9: all samples are the same as int16, expected an RF signal)"
    assert result.stderr.splitlines()[-1] == line
    assert result.stdout.startswith("1 pairs by ncc: ")
    tree = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert tree["left_out"] == [line]
    assert [pair["name"] for pair in tree["tables"][0]["pairs"]] == ["2 → 11"]
    assert {row["pair"] for row in tree["tables"][0]["rows"]} == {"2 → 11"}
    with pytest.raises(FrameError, match=r"left out 1 pair: 0:9 \(frame 9: "):
        call(bad, "--pairs", "0:9", *words)


def test_pairs_are_chosen_as_for_training_and_it_is_said_why(recording: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out, tree_file = tmp_path / "r.html", tmp_path / "r.json"
    result = call(recording, "--count", "1", "--method", "ncc", "--out", out, "--json", tree_file)
    (pair,) = json.loads(tree_file.read_text(encoding="utf-8"))["tables"][0]["pairs"]
    assert re.fullmatch(
        r"chosen as for training: strain -?[\d.]+ %, correlation [\d.]+, \d frames? apart", pair["why"]
    )
    assert re.search(r"sim.h5: 1 of \d pairs that were looked at; left out for ", result.stderr)
    assert pair["why"] in out.read_text(encoding="utf-8")


def test_without_truth_there_are_no_errors_against_it(
    tmp_path: Path, make_frame: Callable[..., RFFrame]
) -> None:
    rec, out, tree_file = tmp_path / "rec.h5", tmp_path / "r.html", tmp_path / "r.json"
    write_recording(rec, [make_frame(k, (128, 16)) for k in (0, 0)])
    call(rec, "--pairs", "consecutive", "--method", "ncc", "--out", out, "--json", tree_file)
    (row,) = json.loads(tree_file.read_text(encoding="utf-8"))["tables"][0]["rows"]
    assert set(row) == {"pair", "method", "CPU s", "NCC"}


def test_a_bundle_by_its_name_is_one_more_method(recording: Path, tmp_path: Path) -> None:
    out, tree_file = tmp_path / "r.html", tmp_path / "r.json"
    call(
        recording, "--pairs", "0:9", "--method", "ncc", "--bundle", f"mine={default_bundle_path()}",
        "--strain-window-mm", "1", "--out", out, "--json", tree_file,
    )  # fmt: skip
    tree = json.loads(tree_file.read_text(encoding="utf-8"))
    assert [method["name"] for method in tree["methods"]] == ["ncc", "mine"]
    assert str(default_bundle_path()) in tree["methods"][1]["what"]
    with Recording(recording) as source:
        length_mm = tree["tables"][0]["pairs"][0]["strain_window_samples"] * source.scan.axial_pitch_mm
    assert length_mm == pytest.approx(1, abs=0.03)


def test_every_classical_method_is_there_and_told(tmp_path: Path) -> None:
    from contextlib import ExitStack

    with ExitStack() as stack:
        found = open_methods(
            list(ESTIMATORS), bundles=(), weights=(), open_bundle=lambda bundle: None, threads=None, stack=stack  # type: ignore[arg-type,return-value]
        )  # fmt: skip
        assert [method.name for method in found] == list(ESTIMATORS)
        assert all(method.what() for method in found)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["none.h5", "--pairs", "0:1"], r"none.h5"),
        (["none.toml"], r"none.toml"),
        (["REC", "--pairs", "0:14"], r"--pairs: got 0:14, expected frames from 0 to 13"),
        (
            ["REC", "--pairs", "0:1", "--homogeneous", "0:257,0:4"],
            r"homogeneous: window 0:257,0:4",
        ),
        (
            ["REC", "--pairs", "0:1", "--homogeneous", "all"],
            r"homogeneous: .*'all'",
        ),
        (["REC", "--pairs", "0:1", "--target", "0:9,0:4"], r"target and background"),
        (
            ["REC", "--pairs", "0:1", "--strain-window-mm", "9"],
            r"frames of 256 samples, expected \d+ or more",
        ),
        (
            ["REC", "--pairs", "0:1", "--method", "magic"],
            r"--method: got 'magic', expected some of usert, ncc, glue",
        ),
        (["REC", "--pairs", "0:1", "--method", "ncc", "--method", "ncc"], r"methods: got 'ncc' twice"),
        (["REC", "--pairs", "0:1", "--weights", "net"], r"--weights: got 'net', expected NAME=FILE"),
        (["REC", "--pairs", "0:1", "--bundle", "nowhere"], r"nowhere"),
        (["REC", "--pairs", "0:1", "--json", "REC"], r"--json: got .*sim.h5, which is a recording"),
        (["PLAN", "--json", "PLAN"], r"got .*pairs.toml twice"),
        (["PLAN", "--pairs", "0:1"], r"--pairs: "),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_nothing_is_written(
    recording: Path, tmp_path: Path, arguments: list[str], fault: str
) -> None:
    plan = tmp_path / "pairs.toml"
    plan.write_text(
        f'[[tables]]\ntitle = "T"\n[[tables.pairs]]\nrecording = "{recording}"\nframes = [0, 1]\n'
    )
    before = recording.read_bytes()
    filled = [{"REC": str(recording), "PLAN": str(plan)}.get(word, word) for word in arguments]
    with pytest.raises(UsertError, match=fault) as caught:
        call(*filled, "--out", tmp_path / "r.html")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.toml"]
    assert recording.read_bytes() == before


def test_a_report_that_is_no_page_is_refused_before_any_work(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--out: got .*r\.txt, expected a name that ends in \.html"):
        call(recording, "--out", tmp_path / "r.txt")


def test_frames_too_short_for_the_strain_are_refused(
    tmp_path: Path, make_frame: Callable[..., RFFrame]
) -> None:
    rec = tmp_path / "rec.h5"
    write_recording(rec, [make_frame(k, (90, 16)) for k in range(2)])
    with pytest.raises(OptionError, match=r"rec\.h5 0:1: .*90 samples, expected 97"):
        call(rec, "--pairs", "0:1", "--out", tmp_path / "r.html")


def test_a_recording_of_nothing_usable_says_so(tmp_path: Path, make_frame: Callable[..., RFFrame]) -> None:
    pytest.importorskip("torch")
    rec = tmp_path / "rec.h5"
    write_recording(rec, [make_frame(0, (256, 64)), make_frame(1, (256, 64))])
    with pytest.raises(RecordingError, match=r"1 recording: 1 candidate"):
        call(rec, "--out", tmp_path / "r.html")


def test_an_interrupt_ends_with_a_line_and_leaves_the_old_report(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    out.write_text("old", encoding="utf-8")
    many = ",".join(f"{k}:{k + 1}" for k in range(13))
    pairs = ",".join([many] * 40)
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "usert",
            "eval",
            str(recording),
            "--pairs",
            pairs,
            "--method",
            "ncc",
            "--out",
            str(out),
        ],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("eval: 1 of 520: ")
        process.send_signal(signal.SIGINT)
        last = process.stderr.read().splitlines()[-1]
        assert process.wait(60) == 130
    assert re.fullmatch(rf"usert: stopped after \d+ of 520, {re.escape(str(out))} not written", last)
    assert out.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
