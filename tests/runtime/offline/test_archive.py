"""`usert run` on a folder: what is killed goes on, what is done is kept, what is not ours is left alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from run_command import SCAN, hashes, usert, write_noise

from usert.bundle import Bundle
from usert.commands.method import open_method
from usert.errors import OptionError, RecordingError
from usert.runtime.offline.recipe import Recipe
from usert.runtime.offline.result_file import ResultReader
from usert.runtime.offline.run_folder import ArchiveWorker, Opener, find_jobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings, in folders."""
    for seed, name in enumerate(("b.h5", "a/x.h5", "a/deep/y.h5")):
        write_noise(tmp_path / "in" / name, seed)
    return tmp_path / "in"


@pytest.fixture
def opener(bundle: Bundle) -> Opener:
    return partial(open_method, "usert", bundle.folder, "onnxruntime", 1, None, 1)


def run_all(opener: Opener, folder: Path, out: Path, **recipe: Any) -> dict[str, tuple[str, str]]:
    with ArchiveWorker(opener, Recipe(**recipe)) as worker:
        outcomes = [worker.work(job) for job in find_jobs(folder, out)]
    return {outcome.name: (outcome.state, outcome.told) for outcome in outcomes}


def test_every_recording_beneath_gets_a_result_of_its_name(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    words = ("run", folder, "--out", tmp_path / "out", "--bundle", bundle.folder, "--threads", "1")
    done = usert(*words)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["a/deep/y.h5", "a/x.h5", "b.h5"]
    assert re.search(r"3 pairs, mean strain 3\.12 to 3\.12 %, median quality 0\.75, \d+\.\d s$", lines[0])
    assert last == f"3 recordings in {tmp_path / 'out'}: 3 done"
    before = hashes(tmp_path / "out")
    assert sorted(before) == ["a/deep/y.h5", "a/x.h5", "b.h5"]
    with h5py.File(tmp_path / "out" / "a" / "x.h5") as file:
        source = (folder / "a" / "x.h5").read_bytes()
        assert file.attrs["recording"] == "a/x.h5"
        assert file.attrs["recording_sha256"] == hashlib.sha256(source).hexdigest()
        assert file.attrs["engine"] == "openvino CPU"
        assert re.match(r"20\d\d\.", file.attrs["engine_version"])
        assert file.attrs["pairs"] == "consecutive"
        assert file.attrs["bundle_sha256"] == bundle.sha256
        assert file.attrs["weights_sha256"] == bundle.manifest.weights.sha256
    again = usert(*words)
    assert again.stdout.splitlines()[-1].endswith(": 3 kept")
    assert hashes(tmp_path / "out") == before


def test_recordings_of_iq_and_of_rf_in_one_folder(opener: Opener, tmp_path: Path) -> None:
    write_noise(tmp_path / "in" / "rf.h5", 0)
    with h5py.File(tmp_path / "in" / "iq.h5", "w") as file:
        file["rf"] = np.random.default_rng(1).integers(-900, 900, (3, 32, 24, 2), dtype=np.int16)
        file["rf"][2] = 5  # costs its pair
        steps = [[0.0, 6.25e6], [30.0, 6e6]]
        file.attrs.update(SCAN | {"fs_hz": 40e6 / 3, "demodulation_hz": steps})
    states = run_all(opener, tmp_path / "in", tmp_path / "out", also=("png", "mp4", "dicom"))
    assert {name: state for name, (state, _) in states.items()} == {"iq.h5": "done", "rf.h5": "done"}
    with ResultReader(tmp_path / "out" / "iq.h5") as result:
        assert result.pairs == ((0, 1),)
        assert [(one.pair, "all samples are the same" in one.reason) for one in result.left_out] == [
            ((1, 2), True)
        ]
        assert result.estimate(0).strain.shape == (32, 24)
        assert result.attributes["demodulation_hz"].tolist() == steps
        assert result.attributes["axial_pitch_mm"] == pytest.approx(3 * 0.01925)
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["iq-png", "iq.dcm", "iq.h5", "iq.mp4", "rf-png", "rf.dcm", "rf.h5", "rf.mp4"]
    again = run_all(opener, tmp_path / "in", tmp_path / "out", also=("png", "mp4", "dicom"))
    assert {state for state, _ in again.values()} == {"kept"}


def test_the_same_run_gives_the_same_bytes(folder: Path, opener: Opener, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run_all(opener, folder, tmp_path / name)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_a_result_of_another_origin_is_told_and_left_unless_told_otherwise(
    folder: Path, bundle: Bundle, opener: Opener, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_all(opener, folder, out)
    before = hashes(out)
    found = run_all(opener, folder, out, strain_window_mm=0.4)
    assert {state for state, _ in found.values()} == {"refused"}
    assert (
        "b.h5 is of another run: strain_window_samples is 17, now it would be 21; --overwrite"
        in found["b.h5"][1]
    )
    assert hashes(out) == before
    write_noise(folder / "b.h5", 77)
    found = run_all(opener, folder, out)
    assert {name: state for name, (state, _) in found.items()} == {
        "a/deep/y.h5": "kept",
        "a/x.h5": "kept",
        "b.h5": "refused",
    }
    assert re.search(r"recording_sha256 is [0-9a-f]{12}, now it would be [0-9a-f]{12}", found["b.h5"][1])
    assert run_all(opener, folder, out, overwrite=True)["b.h5"][0] == "done"
    after = hashes(out)
    assert after["a/x.h5"] == before["a/x.h5"]
    assert after["b.h5"] != before["b.h5"]
    words = ("--bundle", bundle.folder, "--engine", "onnxruntime", "--pairs", "0:1")
    done = usert("run", folder, "--out", out, *words)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith(": 3 refused")
    assert done.stderr.count("pairs is consecutive, now it would be 0:1") == 3


def test_a_recording_that_fails_is_a_line_and_the_others_go_on(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    (folder / "a" / "broken.h5").write_bytes(b"no HDF5")
    write_noise(folder / "a" / "single.h5", 1, frames=1)
    (folder / "a" / "._x.h5").write_bytes(b"what a Mac leaves")
    done = usert("run", folder, "--out", tmp_path / "out", "--bundle", bundle.folder)
    assert done.returncode == 1
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["a/broken.h5", "a/single.h5"]
    assert done.stdout.splitlines()[-1].endswith(": 3 done, 2 failed")
    assert sorted(hashes(tmp_path / "out")) == ["a/deep/y.h5", "a/x.h5", "b.h5"]


def test_a_bad_frame_costs_its_pairs_and_is_counted(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    with h5py.File(folder / "a" / "x.h5", "a") as file:
        file["rf"][1] = 7
    with h5py.File(folder / "b.h5", "a") as file:
        file["rf"][:] = 0
    words = ("run", folder, "--out", tmp_path / "out", "--bundle", bundle.folder, "--also", "png")
    done = usert(*words)
    assert done.returncode == 1  # of b.h5 nothing could be made
    blank = "all samples are the same as int16, expected an RF signal"
    assert done.stderr.splitlines() == [
        f"usert: a/x.h5: left out 2 pairs: 0:1, 1:2 (frame 1: {blank})",
        "usert: b.h5: nothing can be estimated of 3 pairs: "
        + "; ".join(f"{k}:{k + 1} (frame {k}: {blank})" for k in range(3)),
    ]
    assert done.stdout.splitlines()[-1].endswith(": 2 done, 1 failed; 2 pairs left out")
    assert len(list((tmp_path / "out" / "a" / "x-png").iterdir())) == 1
    (folder / "b.h5").unlink()
    again = usert(*words)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines()[-1].endswith(": 2 kept; 2 pairs left out")


def test_what_is_no_result_is_never_replaced(folder: Path, opener: Opener, tmp_path: Path) -> None:
    out = tmp_path / "out"
    precious = write_noise(out / "b.h5", 5)
    (out / "a").mkdir()
    (out / "a" / "x.h5").write_bytes(b"older")
    before = precious.read_bytes()
    found = run_all(opener, folder, out, overwrite=True)
    assert found["b.h5"][0] == found["a/x.h5"][0] == "failed"
    assert found["b.h5"][1].endswith("it is not replaced: move it away")
    assert precious.read_bytes() == before
    assert (out / "a" / "x.h5").read_bytes() == b"older"


def test_an_engine_that_breaks_is_told_as_a_bug(
    folder: Path, opener: Opener, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Breaking:
        name, strain_window_at = "breaking CPU", staticmethod(lambda scan: 17)
        warm_up = close = staticmethod(lambda *_: None)

        def run(self, reference: Any, current: Any, scan: object = None) -> Any:
            raise ZeroDivisionError("of mine")

    broken: Callable[[], Any] = lambda: (Breaking(), None)  # noqa: E731
    found = run_all(broken, folder, tmp_path / "out")
    assert found["b.h5"] == ("failed", "this is a bug: ZeroDivisionError: of mine")
    assert "Traceback" in capsys.readouterr().err
    assert hashes(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--figure", "f.png"], "--figure: got f.png"),
        (["--workers", "2"], "--workers: got 2 without --ray"),
        (["--also", "gif"], "--also: got 'gif', expected one of png, mp4, dicom"),
        (["--dicom-like", "x.dcm"], "--dicom-like: got x.dcm without --also dicom"),
        (["--bundle", "nowhere"], "nowhere: no such folder"),
        (["--ray", "local", "--workers", "0"], "--workers: got 0, expected 1 or more"),
    ],
)
def test_bad_options_are_one_line(folder: Path, tmp_path: Path, options: list[str], message: str) -> None:
    done = usert("run", folder, "--out", tmp_path / "out", *options)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [["--overwrite"], ["--ray", "local"], ["--workers", "2"]])
def test_options_of_folders_are_refused_for_one_recording(
    folder: Path, tmp_path: Path, option: list[str]
) -> None:
    done = usert("run", folder / "b.h5", "--out", tmp_path / "o.h5", *option)
    assert done.returncode == 1
    assert f"{option[0]}: got {folder / 'b.h5'}" in done.stderr


def test_places_for_results_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OptionError, match=r"^--out: got .*/file, .*expected"):
        find_jobs(folder, tmp_path / "file")
    for inside in (folder, folder / "results"):
        with pytest.raises(OptionError, match=f"^--out: got {inside}, inside "):
            find_jobs(folder, inside)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match=r"empty.*\*\.h5"):
        find_jobs(tmp_path / "empty", tmp_path / "out")


def test_two_runs_at_once_do_not_mix(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with h5py.File(out / "b.h5.part", "w"):
        done = usert("run", folder, "--out", out, "--bundle", bundle.folder)
    assert done.returncode == 1
    assert done.stderr == f"usert: b.h5: cannot write {out / 'b.h5'}: Resource temporarily unavailable\n"
    assert done.stdout.splitlines()[-1].endswith(": 2 done, 1 failed")
