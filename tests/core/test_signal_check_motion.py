"""Two frames of IQ that moved: the demodulation frequency and the sign of Q, and no word where they are right."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from public_rf import public_frames

from usert.frame import RFFrame, Scan
from usert.iq import as_iq
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.signal_check import check_motion

F0 = 6.5e6
SCANNER = SimulatedScanner(ScannerConfig(shape=(1024, 96)))
CONJUGATE = np.array([1, -1])


def frames(demodulation_hz: float = F0, decimation: int = 4, *numbers: int) -> tuple[list[np.ndarray], Scan]:
    """Frames of the press as IQ, by default the first and one in which it is half done."""
    made = [as_iq(SCANNER.frame(k), demodulation_hz, decimation) for k in numbers or (0, 7)]
    return [frame.samples for frame in made], made[0].scan


@pytest.mark.parametrize("decimation", [1, 2, 4])
@pytest.mark.parametrize("demodulation_hz", [5.5e6, F0, 7.2e6])
def test_what_is_right_is_not_remarked_and_what_is_wrong_is_told(
    demodulation_hz: float, decimation: int
) -> None:
    samples, scan = frames(demodulation_hz, decimation)
    assert check_motion(samples, scan) == ""
    assert "Q had the other sign: conjugate" in check_motion([s * CONJUGATE for s in samples], scan)
    wrong = replace(scan, demodulation_hz=1.4 * demodulation_hz, f0_hz=1.4 * demodulation_hz)
    line = check_motion(samples, wrong)
    found = float(line.split("demodulated at ")[1].split(" MHz")[0])
    assert found == pytest.approx(demodulation_hz / 1e6, rel=0.05)
    assert line.endswith(": --demodulation-mhz, or --fs-mhz?")


def test_frames_are_looked_at_until_one_moved_enough() -> None:
    samples, scan = frames(F0, 4, 0, 1, 2, 3, 4, 5, 6, 7)
    mirrored = [s * CONJUGATE for s in samples]
    assert check_motion(mirrored[:2], scan) == ""  # hardly any motion
    assert "Q had the other sign" in check_motion(mirrored, scan)
    read = iter(samples * 3)
    check_motion(read, scan)
    assert len(list(read)) > 12


def test_what_cannot_be_judged_is_not_remarked() -> None:
    samples, scan = frames()
    noise = np.random.default_rng(0).standard_normal((2, *samples[0].shape))
    assert check_motion(noise, scan) == ""
    assert check_motion(np.zeros_like(samples), scan) == ""
    assert check_motion([s[:20] for s in samples], scan) == ""
    assert check_motion([s[:, :4] for s in samples], scan) == ""
    assert check_motion([samples[0], samples[1][:-1]], scan) == ""
    assert check_motion(samples[:1], scan) == ""
    assert check_motion([], scan) == ""
    assert check_motion(samples, replace(scan, demodulation_hz=((0.0, 7e6), (200.0, 6e6)))) == ""
    assert check_motion([SCANNER.frame(k).samples for k in (0, 7)], SCANNER.scan) == ""


def test_public_pairs_are_not_remarked_and_their_conjugates_are_never_called_right(rf_folder: Path) -> None:
    told = 0
    for (name, first, f0_hz), (other, second, _) in pairwise(public_frames(rf_folder)):
        if first.shape != second.shape or name[:4] != other[:4]:
            continue
        scan = Scan(fs_hz=40e6, f0_hz=f0_hz, sound_speed_m_s=1540, line_pitch_mm=0.1)
        for decimation, share in product((2, 4), (0.85, 1, 1.15)):
            pair = [
                as_iq(RFFrame(samples=s.astype(np.float32), scan=scan), share * f0_hz, decimation)
                for s in (first, second)
            ]
            samples = [frame.samples for frame in pair]
            assert check_motion(samples, pair[0].scan) == "", (name, decimation, share)
            line = check_motion([s * CONJUGATE for s in samples], pair[0].scan)
            assert line == "" or "Q had the other sign" in line
            told += bool(line)
    assert told > 20


@pytest.mark.parametrize("last", [4, 5])
def test_q_of_the_other_sign_shows_in_a_small_motion_too(last: int) -> None:
    samples, scan = frames(F0, 4, 0, last)
    assert check_motion(samples, scan) == ""
    assert "Q had the other sign" in check_motion([s * CONJUGATE for s in samples], scan)
