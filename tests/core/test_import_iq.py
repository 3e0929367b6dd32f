"""`usert import` of IQ: what becomes of it, and what is asked for and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from import_command import TOLD, call, pressed
from plus_and_matlab import sequence

import usert
from usert.analytic import analytic_signal
from usert.errors import FormatError, OptionError
from usert.iq import as_iq
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import READABLE_QUALITY
from usert.recording import Recording


def iq_file(tmp_path: Path, demodulation_hz: float = 6e6) -> tuple[Path, np.ndarray]:
    """Two simulated frames of IQ at 10 MHz, complex in a `.npy` file; and as pairs, (F, N, M, 2)."""
    scanner = SimulatedScanner(ScannerConfig(shape=(2048, 96)))
    pairs = np.stack([as_iq(scanner.frame(k), demodulation_hz, 4).samples for k in (0, 7)])
    path = tmp_path / "frames.npy"
    np.save(path, (pairs[..., 0] + 1j * pairs[..., 1]).astype(np.complex64))
    return path, pairs


IQ = ["--format", "numpy", "--fs-mhz", "10", "--line-pitch-mm", "0.12"]


def test_iq_becomes_a_recording_of_iq(tmp_path: Path) -> None:
    file, pairs = iq_file(tmp_path)
    out = tmp_path / "rec.h5"
    result = call("import", file, "--out", out, *IQ, "--demodulation-mhz", "6", "--f0-mhz", "6.5")
    assert "2 frames of 512 x 96 float32" in result.output
    assert "f0 6.5 MHz" in result.output
    assert result.output.splitlines()[1].endswith("demodulated at 6 MHz")
    with Recording(out) as recording:
        assert (recording.scan.kind, recording.scan.demodulation_hz) == ("iq", 6e6)
        np.testing.assert_array_equal([frame.samples for frame in recording], pairs)
    card = call("info", out).output
    assert "kind        IQ, demodulated at 6 MHz" in card
    assert "signal      IQ, 9" in card


def test_the_demodulation_frequency_is_asked_for_and_only_of_iq(tmp_path: Path) -> None:
    file, out = iq_file(tmp_path)[0], tmp_path / "rec.h5"
    with pytest.raises(
        OptionError, match="--demodulation-mhz: got none, and the file does not say; its samples are IQ"
    ):
        call("import", file, "--out", out, *IQ, "--f0-mhz", "6")
    with pytest.raises(OptionError, match=r"--demodulation-mhz: got 6, expected none of RF: .* --kind iq"):
        call("import", pressed(tmp_path), "--out", out, *IQ, "--demodulation-mhz", "6")
    with pytest.raises(OptionError, match="--demodulation-mhz: got 'six'"):
        call("import", file, "--out", out, *IQ, "--demodulation-mhz", "six")
    assert not out.exists()


@pytest.mark.parametrize(("kind", "wrong"), [("iq-pairs", "iq-lines"), ("iq-lines", "iq-pairs")])
def test_the_look_names_the_kind_that_it_is(tmp_path: Path, kind: str, wrong: str) -> None:
    pairs = iq_file(tmp_path)[1]
    file, out = tmp_path / "turns.npy", tmp_path / "rec.h5"
    turns = {"iq-pairs": pairs.swapaxes(2, 3).reshape(2, -1, 96), "iq-lines": pairs.reshape(2, 512, -1)}
    np.save(file, turns[kind])
    told = ["--demodulation-mhz", "6"]
    with pytest.raises(FormatError, match=f"--kind {kind} and --demodulation-mhz"):
        call("import", file, "--out", out, *IQ, "--f0-mhz", "3")
    with pytest.raises(FormatError, match=f"expected them in quadrature: --kind {kind}"):
        call("import", file, "--out", out, *IQ, "--kind", wrong, *told)
    assert not out.exists()
    assert "looks like" not in call("import", file, "--out", out, *IQ, "--kind", kind, *told).output
    with Recording(out) as recording:
        assert (recording.scan.f0_hz, recording.dtype) == (6e6, np.int16)
        np.testing.assert_array_equal([frame.samples for frame in recording], pairs)


def test_the_real_part_of_an_analytic_signal_is_rf(tmp_path: Path) -> None:
    rf = np.load(pressed(tmp_path))
    analytic = np.asarray(analytic_signal(rf.astype(np.float32)))
    file, out = tmp_path / "analytic.npy", tmp_path / "rec.h5"
    np.save(file, analytic)
    told = [*TOLD, "--f0-mhz", "6.5"]
    with pytest.raises(FormatError, match="the carrier is still in it: --kind rf takes the real part"):
        call("import", file, "--out", out, *told, "--demodulation-mhz", "6.5")
    result = call("import", file, "--out", out, *told, "--kind", "rf")
    assert "--kind rf: taken, the real part of complex samples" in result.output
    with Recording(out) as recording:
        np.testing.assert_allclose(recording.frame(0).samples, rf[0], atol=1)


def test_too_few_rows_of_iq_are_counted_as_those_of_its_rf(tmp_path: Path) -> None:
    file, out = iq_file(tmp_path)[0], tmp_path / "rec.h5"
    words = ["import", file, "--out", out, *IQ, "--demodulation-mhz", "6", "--rows"]
    assert "30 rows are too few for strain, which needs 41" in call(*words, "0:30").output
    out.unlink()
    assert "too few" not in call(*words, "0:41").output


def test_iq_lines_of_plus_are_read_as_iq_with_the_right_strain(cases_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    words = ["import", cases_folder / "plus_iq_lines.igs.mha", "--format", "metaimage", "--out", out]
    words += ["--fs-mhz", "40", "--f0-mhz", "6.5", "--line-pitch-mm", "0.12"]
    with pytest.raises(OptionError, match="--demodulation-mhz: got none"):
        call(*words)
    result = call(*words, "--demodulation-mhz", "6.5")
    assert "2 frames of 512 x 96 int16" in result.output
    assert "taken" not in result.output
    with Recording(out) as recording:
        assert list(np.diff(recording.acquired_ns)) == [50_000_000]
        pair = [recording.frame(k) for k in (0, 1)]
    found = usert.estimate(pair[0].samples, pair[1].samples, pair[0].scan)
    readable = found.quality >= READABLE_QUALITY
    assert readable.mean() > 0.8
    assert 100 * found.strain[readable].mean() == pytest.approx(1.43, abs=0.03)


PLUS = ["--format", "metaimage", "--f0-mhz", "6.5", "--line-pitch-mm", "0.12"]


def plus_lines(tmp_path: Path, lines: np.ndarray) -> Path:
    """A sequence of PLUS with `lines` (F, N, M, 2), of each sample both numbers in lines of their own."""
    stored = lines.reshape(*lines.shape[:2], -1).transpose(0, 2, 1).astype(np.int16)
    return sequence(tmp_path / "a.igs.mha", image="RF_I_LINE_Q_LINE", stored=stored)


def test_lines_of_rf_and_of_its_hilbert_transform_as_plus_has_them(tmp_path: Path) -> None:
    rf = np.load(pressed(tmp_path))
    analytic = np.asarray(analytic_signal(rf.astype(np.float32)))
    out = tmp_path / "rec.h5"
    words = [
        "import",
        plus_lines(tmp_path, np.stack((rf, np.rint(analytic.imag)), axis=-1)),
        "--out",
        out,
        *PLUS,
    ]
    words += ["--fs-mhz", "40"]
    with pytest.raises(OptionError, match=r"--demodulation-mhz: got none.*--kind rf-lines"):
        call(*words)
    with pytest.raises(FormatError, match=r"the carrier is still in it: .*--kind rf-lines"):
        call(*words, "--demodulation-mhz", "6.5")
    assert not out.exists()
    result = call(*words, "--kind", "rf-lines")
    assert "the file states" not in result.output
    assert "RF_I_LINE_Q_LINE" not in result.output
    with Recording(out) as recording:
        assert recording.scan.kind == "rf"
        np.testing.assert_array_equal([frame.samples for frame in recording], rf)


def test_lines_of_i_and_of_q_of_plus_are_not_taken_for_rf(tmp_path: Path) -> None:
    pairs = iq_file(tmp_path)[1]
    out = tmp_path / "rec.h5"
    words = ["import", plus_lines(tmp_path, pairs), "--out", out, *PLUS, "--fs-mhz", "10"]
    with pytest.raises(
        FormatError, match=r"looks like demodulated I/Q.* --kind iq-lines and --demodulation-mhz"
    ):
        call(*words, "--kind", "rf-lines", "--f0-mhz", "3")
    result = call(*words, "--demodulation-mhz", "6")
    assert "--kind rf-lines" in result.output
    with Recording(out) as recording:
        np.testing.assert_array_equal([frame.samples for frame in recording], pairs)


def test_q_of_the_other_sign_is_told_and_not_refused(tmp_path: Path) -> None:
    file, out = iq_file(tmp_path)[0], tmp_path / "rec.h5"
    words = ["import", file, "--out", out, *IQ, "--demodulation-mhz", "6"]
    assert "Q had the other sign" not in call(*words).output
    np.save(file, np.conj(np.load(file)))
    out.unlink()
    result = call(*words)
    assert result.exit_code == 0
    assert "the echoes move as if Q had the other sign: conjugate the samples" in result.output


def test_lines_first_are_refused_and_info_tells_them(tmp_path: Path) -> None:
    file, out = iq_file(tmp_path)[0], tmp_path / "rec.h5"
    frames = np.load(file)
    np.save(file, frames.transpose(0, 2, 1))
    words = ["import", file, "--out", out, *IQ, "--demodulation-mhz", "6"]
    with pytest.raises(FormatError, match=r"looks like IQ with lines first .*: --transpose; --unchecked"):
        call(*words)
    assert not out.exists()
    told = "looks like IQ with lines first"
    assert told in call(*words, "--unchecked").output
    assert told in call("info", out).output
    out.unlink()
    assert told not in call(*words, "--transpose").output
    assert told not in call("info", out).output
    with Recording(out) as recording:
        assert recording.shape == frames.shape[1:]
