"""What samples that are told to be IQ look like: each kind by its own name, and good IQ of any scanner as IQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from public_rf import public_frames

from usert.analytic import analytic_signal
from usert.frame import Scan
from usert.iq import iq_scan, turned_down
from usert.phantom.beam import Beam
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.signal_check import SignalKind, check_frames, check_signal

Samples = NDArray[Any]
F0, FS = 6.5e6, 40e6


def rf_scan(f0_hz: float = F0) -> Scan:
    return Scan(fs_hz=FS, f0_hz=f0_hz, sound_speed_m_s=1540, line_pitch_mm=0.12)


def simulated(scan: Scan, shape: tuple[int, int] = (1024, 96), bandwidth: float = 0.6) -> Samples:
    """(N, M) int16."""
    beam = Beam(fractional_bandwidth=bandwidth)
    return SimulatedScanner(ScannerConfig(scan=scan, shape=shape, beam=beam)).frame(0).samples


RF = simulated(rf_scan())


def iq(demodulation_hz: float = F0, decimation: int = 4) -> tuple[Samples, Scan]:
    """(N, M, 2) int16 and its scan."""
    scan = iq_scan(rf_scan(), demodulation_hz, decimation)
    return np.rint(turned_down(RF, scan, decimation)).astype(np.int16), scan


def along(samples: Samples) -> Samples:
    """I and Q in turns along depth, (2 N, M)."""
    return samples.swapaxes(1, 2).reshape(-1, samples.shape[1])


def paired(samples: Samples) -> Samples:
    """Rows taken for I and Q in turns."""
    return np.stack((samples[:-1:2], samples[1::2]), axis=-1)


def in_lines(samples: Samples) -> Samples:
    """Lines taken for I and Q in turns."""
    return np.stack((samples[:, :-1:2], samples[:, 1::2]), axis=-1)


def magnitude(samples: Samples) -> Samples:
    return np.asarray(np.hypot(*np.moveaxis(samples.astype(np.float32), -1, 0)))


def zero_q(samples: Samples) -> Samples:
    return np.stack((samples, np.zeros_like(samples)), axis=-1)


KINDS: dict[str, tuple[SignalKind, Callable[[Samples], Samples], str]] = {
    "int16": ("iq", lambda s: s, ""),
    "float": ("iq", lambda s: s.astype(np.float32) * 1e-4, ""),
    "8 bit": ("iq", lambda s: (s // 256).astype(np.int8), ""),
    "clipped": ("iq", lambda s: s.clip(-1000, 1000), ""),
    "upon an offset": ("offset", lambda s: (s + 32768.0).astype(np.uint16), "subtract their middle"),
    "bytes swapped": ("byte_order", lambda s: s.byteswap(), "swap them"),
    "float bytes swapped": ("byte_order", lambda s: s.astype(np.float32).byteswap(), "swap them"),
    "envelope": ("picture", lambda s: zero_q(magnitude(s)), "B-mode or an envelope"),
    "envelopes in pairs": ("picture", lambda s: in_lines(magnitude(s)), "B-mode or envelopes"),
    "RF with a zero Q": ("no_quadrature", lambda s: zero_q(RF), "--kind rf"),
    "RF lines": ("no_quadrature", lambda s: in_lines(RF), "--kind rf"),
    "pairs for lines": ("no_quadrature", lambda s: in_lines(along(s)), ": --kind iq-pairs"),
    "lines for pairs": (
        "no_quadrature",
        lambda s: paired(s.reshape(len(s), -1)),
        ": --kind iq-lines",
    ),
    "zeros": ("blank", lambda s: np.zeros_like(s), ""),
    "few rows": ("blank", lambda s: s[:16], ""),
    "not a number": ("blank", lambda s: np.full(s.shape, np.nan, np.float32), ""),
    "noise": ("noise", lambda s: np.random.default_rng(1).standard_normal(s.shape), "noise"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("demodulation_hz", "decimation"), [(F0, 4), (5.2e6, 2), (F0, 2), (7.2e6, 3)])
def test_each_kind_is_called_by_its_name(name: str, demodulation_hz: float, decimation: int) -> None:
    samples, scan = iq(demodulation_hz, decimation)
    kind, made_of, words = KINDS[name]
    signal = check_signal(made_of(samples), scan)
    assert signal.kind == kind, signal
    assert signal.refused == (kind in ("picture", "byte_order", "no_quadrature"))
    assert words in signal.line
    assert bool(signal.line) == (kind not in ("iq", "blank"))
    assert "\n" not in signal.line


def test_lines_first_are_told_where_the_two_frequencies_differ() -> None:
    samples, scan = iq(5.2e6, 2)
    signal = check_signal(samples.swapaxes(0, 1), scan)
    assert (signal.kind, signal.refused) == ("lines_first", True)
    assert signal.line.endswith(": --transpose")


def test_a_frequency_at_which_there_is_no_echo_is_told_and_not_refused() -> None:
    cases = [
        (iq(F0, 1)[0], iq_scan(rf_scan(12e6), F0, 1), "5.5 MHz below f0 (12 MHz)"),
        (iq(F0, 1)[0], iq_scan(rf_scan(F0), 11e6, 1), "4.5 MHz above f0 (6.5 MHz)"),
    ]
    for samples, scan, words in cases:
        signal = check_signal(samples, scan)
        assert (signal.kind, signal.refused) == ("f0", False)
        assert words in signal.line


@pytest.mark.parametrize("cycles", [0.05, 0.1625, 0.3, 0.4])
@pytest.mark.parametrize("told", [0.8, 1.0, 1.2])
def test_rf_beside_its_hilbert_transform_is_told_from_iq(cycles: float, told: float) -> None:
    """The carrier is still in it, in whichever direction the phase turns; of IQ at the same rate it is not."""
    scan = rf_scan(cycles * FS)
    rf = simulated(scan, shape=(2048, 48))
    analytic = np.asarray(analytic_signal(rf.astype(np.float32)))
    for sign in (1, -1):
        there = np.stack((analytic.real, sign * analytic.imag), axis=-1).astype(np.float32)
        signal = check_signal(there, iq_scan(scan, told * scan.f0_hz, 1))
        assert (signal.kind, signal.refused) == ("carrier", True), signal
        assert "--kind rf-lines" in signal.line
    down = iq_scan(scan, told * scan.f0_hz, 1)
    assert check_signal(turned_down(rf, down, 1), down).kind == "iq"


def test_two_samples_of_rf_for_one_of_iq_have_the_carrier_too() -> None:
    assert check_signal(paired(RF), iq(F0, 2)[1]).kind == "carrier"


def test_iq_of_the_harmonic_is_not_taken_for_one_with_the_carrier() -> None:
    """Turned down by twice the frequency that was sent, where the echo lies."""
    samples, scan = iq(F0, 2)
    assert check_signal(samples, replace(scan, f0_hz=F0 / 2)).kind != "carrier"


def test_a_demodulation_that_changes_with_depth_is_followed() -> None:
    steps = ((0.0, 9e6), (120.0, 4e6))
    scan = Scan(**iq_scan(rf_scan(), F0, 4).stated | {"demodulation_hz": steps})
    samples = turned_down(RF, scan, 4)
    assert check_signal(samples, scan).kind == "iq"


def degraded(samples: Samples) -> Iterator[tuple[str, Samples]]:
    """The same echoes, worse."""
    clean = samples / samples.std()
    noise = np.random.default_rng(2).standard_normal(samples.shape)
    depth = np.linspace(0, 1, len(samples))[:, None, None]
    yield "noise as strong", clean + noise
    yield "fading into noise", clean * np.exp(-8 * depth) + 0.05 * noise
    yield "drifting offset", clean + 3 * np.sin(9 * depth)
    yield "offset of I and Q", clean + np.array([3.0, -2.0])
    yield "saturated at the end", clean + 20 * (depth > 0.9)
    yield "echoes in the first quarter", clean * (depth < 0.25)
    yield "clipped", clean.clip(-0.7, 0.7)
    yield "one line", clean[:, :1]
    yield "every line the same", np.repeat(clean[:, :1], 96, axis=1)
    yield "lines unlike each other", clean[:, np.random.default_rng(3).permutation(samples.shape[1])]
    yield "Q of the other sign", clean * np.array([1.0, -1.0])


@pytest.mark.parametrize("bandwidth", [0.25, 0.6, 0.9])
@pytest.mark.parametrize("cycles", [0.05, 0.1, 0.1625, 0.25, 0.325, 0.4])
def test_iq_of_any_simulated_scanner_passes(cycles: float, bandwidth: float) -> None:
    scan = rf_scan(cycles * FS)
    for shape in ((384, 64), (1024, 128)):
        rf = simulated(scan, shape, bandwidth)
        for decimation, share in product((1, 2, 3, 4, 6), (0.8, 1, 1.2)):
            if decimation < 3 and share * cycles > 0.3:  # the image of the real RF would be left in it
                continue
            told = iq_scan(scan, share * scan.f0_hz, decimation)
            samples = turned_down(rf, told, decimation)
            assert check_signal(samples, told).kind == "iq"
            for name, worse in degraded(samples):
                assert not check_signal(worse, told).refused, (name, decimation, share)


def test_public_rf_as_iq_passes_whatever_frequency_it_was_turned_down_by(rf_folder: Path) -> None:
    found = list(public_frames(rf_folder))
    assert len(found) > 20
    for name, samples, f0_hz in found:
        for decimation, (share, nominal) in product(range(1, 7), ((0.85, 1.1), (1, 0.9), (1.15, 1))):
            scan = iq_scan(rf_scan(nominal * f0_hz), share * f0_hz, decimation)
            signal = check_signal(turned_down(samples.astype(np.float32), scan, decimation), scan)
            assert (signal.kind, signal.line) == ("iq", ""), (name, decimation, share, nominal)


def test_frames_that_cannot_be_judged_leave_it_to_the_next() -> None:
    samples, scan = iq()
    blank, wrong = np.zeros_like(samples), in_lines(RF)[: len(samples)]
    assert check_frames([blank, samples], scan).kind == "iq"
    assert check_frames([wrong, wrong, wrong], scan).refused
    assert check_frames([wrong, wrong, samples], scan).kind == "iq"


@pytest.mark.parametrize("rows", [64, 128])
def test_a_frequency_ten_times_too_high_is_seen_by_the_width_of_the_spectrum(rows: int) -> None:
    """Also where too few rows move to show it: no pulse has a bandwidth of 6 % of its frequency."""
    samples, scan = iq()
    wrong = replace(scan, f0_hz=10 * F0, demodulation_hz=10 * F0)
    assert check_signal(samples[:rows], scan).kind == "iq"
    signal = check_signal(samples[:rows], wrong)
    assert signal.kind == "f0"
    assert not signal.refused
    assert "of f0 (65 MHz)" in signal.line
    assert "--demodulation-mhz" in signal.line
