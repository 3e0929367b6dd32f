"""`usert simulate` as a person calls it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from usert.beam_space import half_way_pitch_mm
from usert.cli import app
from usert.errors import MissingExtraError, OptionError
from usert.iq import iq_scan, turned_down
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import warped_ncc
from usert.recording import Recording
from usert.runtime.protocol.rf_message import RFMessage

SMALL = ("--shape", "192,48", "--frames", "4")


def call(*arguments: str | Path) -> Result:
    """Run `usert simulate`; an error of usert is raised as `main` would see it."""
    result = CliRunner().invoke(app, ["simulate", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def samples(path: Path) -> list[np.ndarray]:
    with Recording(path) as recording:
        return [frame.samples for frame in recording]


def test_the_recording_holds_the_scanner_s_frames_and_truth(tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    result = call("--out", out, *SMALL, "--rate", "25", "--strain", "2", "--seed", "4", "--noise", "0.1")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert f"{out}: 4 frames of 192 x 48 at 25 Hz, strain up to 2 %" in result.stdout
    scanner = SimulatedScanner(
        ScannerConfig(shape=(192, 48), rate_hz=25.0, peak_strain=0.02, noise=0.1), seed=4
    )
    with Recording(out) as recording:
        assert len(recording) == 4
        assert recording.scan == scanner.scan
        np.testing.assert_array_equal(np.diff(recording.acquired_ns), 40_000_000)
        for k in range(4):
            np.testing.assert_array_equal(recording.frame(k).samples, scanner.frame(k).samples)
        for k in range(3):
            np.testing.assert_array_equal(recording.truth(k), scanner.truth(k, k + 1))
    assert [p.name for p in tmp_path.iterdir()] == ["rec.h5"]


def test_frames_may_have_the_geometry_of_a_curved_array(tmp_path: Path) -> None:
    plain, curved = tmp_path / "plain.h5", tmp_path / "curved.h5"
    call("--out", plain, *SMALL)
    call("--out", curved, *SMALL, "--radius-mm", "40", "--first-depth-mm", "2")
    for before, after in zip(samples(plain), samples(curved), strict=True):
        np.testing.assert_array_equal(before, after)
    with Recording(curved) as recording:
        scan = recording.scan
        found = RFMessage.from_parts(RFMessage(frame=recording.frame(0), stream="s").to_parts()).frame.scan
    assert found == scan, "as `usert replay` sends it"
    assert (scan.radius_mm, scan.first_depth_mm) == (40, 2)
    assert scan.line_angle_deg is not None
    pitch_mm = half_way_pitch_mm(40, scan.line_angle_deg, 2, 192 * scan.axial_pitch_mm)
    assert pitch_mm == pytest.approx(scan.line_pitch_mm)


def test_the_same_seed_gives_the_same_samples(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, seed in zip(paths, ("1", "1", "2"), strict=True):
        call("--out", path, *SMALL, "--seed", seed)
    first, second, other = (samples(path) for path in paths)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_finite_elements_move_the_frames_as_their_truth_says(tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    result = call(
        "--out", out, "--shape", "192,48", "--frames", "7", "--strain", "5", "--fem", "--noise", "0"
    )
    with Recording(out) as recording:
        pre, post, truth = recording.frame(5).samples, recording.frame(6).samples, recording.truth(5)
    assert warped_ncc(pre, post, truth)[30:-30, 6:-6].mean() > 0.97
    closed = SimulatedScanner(ScannerConfig(shape=(192, 48)))
    ratio = float(result.stdout.split("strain ratio of the lesion")[1])
    assert 0.01 < abs(ratio - closed.strain_ratio) < 0.1  # the rigid probe is near


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--frames", "1", "--frames: got 1, expected at least 2"),
        ("--shape", "512", "--shape: got '512'"),
        ("--shape", "8,8", "shape: got 8x8, expected at least 32"),
        ("--strain", "11", "--strain: got 11 percent, expected 0 to 10"),
        ("--strain", "nan", "--strain: got nan percent"),
        ("--rate", "0", "--rate: got 0 Hz"),
        ("--seed", "-1", "--seed: got -1, expected 0 or more"),
        ("--noise", "-1", "noise: got -1, expected 0 or more"),
        ("--modulus-ratio", "0", "modulus ratio: got 0, expected 0.001 to 1000"),
    ],
)
def test_bad_values_are_one_line_and_write_nothing(
    tmp_path: Path, option: str, value: str, message: str
) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        call("--out", tmp_path / "rec.h5", option, value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_out_that_cannot_be_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"--frames: got 1000000000, which take 655360\.00 GB, expected at most .* [GM]B"
    ):
        call("--out", tmp_path / "rec.h5", "--frames", 1_000_000_000)
    for out in (tmp_path / "absent" / "rec.h5", tmp_path):
        with pytest.raises(OptionError, match="--out: got"):
            call("--out", out)


def test_without_scikit_fem_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skfem", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'usert\[fem\]'"):
        call("--out", tmp_path / "rec.h5", *SMALL, "--fem")
    assert not list(tmp_path.iterdir())


def test_a_recording_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    call("--out", out, *SMALL)
    before = out.read_bytes()
    with pytest.raises(OptionError, match=r"rec\.h5, which is a recording; name another file, or remove it"):
        call("--out", out, *SMALL, "--seed", "1")
    assert out.read_bytes() == before


def test_stopped_it_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "rec.h5"

    def interrupted(self: SimulatedScanner, i: int, j: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SimulatedScanner, "truth", interrupted)
    result = call("--out", out, *SMALL)
    assert result.exit_code == 130
    assert f"stopped, {out} not written" in result.stderr
    assert not list(tmp_path.iterdir())


def test_iq_is_the_scanner_s_rf_turned_down_with_its_truth(tmp_path: Path) -> None:
    rf, iq = tmp_path / "rf.h5", tmp_path / "iq.h5"
    call("--out", rf, *SMALL)
    result = call("--out", iq, *SMALL, "--kind", "iq", "--demodulation-mhz", "6", "--decimation", "4")
    assert f"{iq}: 4 frames of 48 x 48 of IQ, demodulated at 6 MHz, at 20 Hz" in result.stdout
    with Recording(rf) as real, Recording(iq) as turned:
        assert (turned.shape, turned.dtype, turned.scan.kind) == ((48, 48), np.int16, "iq")
        assert turned.scan == iq_scan(real.scan, 6e6, 4)
        expected = turned_down(real.frame(1).samples, turned.scan, 4)
        assert np.abs(turned.frame(1).samples - expected).max() <= 0.5
        truth = real.truth(1)[:, ::4]
        np.testing.assert_allclose(turned.truth(1), truth * np.array([0.25, 1.0])[:, None, None], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--kind", "IQ"), "--kind: got 'IQ', expected rf or iq"),
        (("--decimation", "2"), "expected neither of RF"),
        (("--demodulation-mhz", "6"), "expected neither of RF"),
        (("--kind", "iq", "--decimation", "0"), "--decimation: got 0, expected 1 to 192"),
    ],
)
def test_options_of_iq_that_do_not_fit_are_refused(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        call("--out", tmp_path / "rec.h5", *SMALL, *options)
