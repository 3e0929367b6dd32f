"""What samples look like: each kind by its own name, and good RF of any scanner as RF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from public_rf import public_frames

from usert.analytic import analytic_signal
from usert.frame import Scan
from usert.phantom.beam import Beam
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.signal_check import Signal, SignalKind, check_frames, check_signal

Samples = NDArray[Any]


def scan_of(f0_hz: float = 6.5e6, fs_hz: float = 40e6) -> Scan:
    return Scan(fs_hz=fs_hz, f0_hz=f0_hz, sound_speed_m_s=1540, line_pitch_mm=0.12)


def simulated(
    scan: Scan, shape: tuple[int, int] = (512, 96), bandwidth: float = 0.6, seed: int = 0, noise: float = 0.02
) -> Samples:
    """(N, M) int16."""
    beam = Beam(fractional_bandwidth=bandwidth)
    config = ScannerConfig(scan=scan, shape=shape, beam=beam, noise=noise)
    return SimulatedScanner(config, seed).frame(seed).samples


def baseband(samples: Samples, scan: Scan) -> NDArray[Any]:
    """(N, M) complex, demodulated at f0."""
    row = np.arange(len(samples))[:, None]
    signal = np.asarray(analytic_signal(samples.astype(np.float32)))
    return signal * np.exp(-2j * np.pi * scan.cycles_per_sample * row)


def envelope(samples: Samples, scan: Scan) -> Samples:
    return np.abs(baseband(samples, scan)).astype(np.float32)


def decibels(samples: Samples, scan: Scan) -> Samples:
    """-60 to 0."""
    amplitude = envelope(samples, scan)
    return np.asarray(20 * np.log10(np.maximum(amplitude / amplitude.max(), 1e-3)))


def bmode(samples: Samples, scan: Scan) -> Samples:
    return ((decibels(samples, scan) + 60) * (255 / 60)).astype(np.uint8)


def iq_lines(samples: Samples, scan: Scan) -> Samples:
    """(N, 2 M): an I line, a Q line, and so on."""
    signal = baseband(samples, scan)
    return np.stack((signal.real, signal.imag), axis=-1).reshape(len(signal), -1).astype(np.float32)


def iq_in_turns(samples: Samples, scan: Scan) -> Samples:
    """(N, M): half of the samples of I and Q, one after the other along depth."""
    signal = baseband(samples, scan)[::2]
    return np.stack((signal.real, signal.imag), axis=1).reshape(-1, signal.shape[1]).astype(np.float32)


KINDS: dict[str, tuple[SignalKind, Callable[[Samples, Scan], Samples]]] = {
    "int16": ("rf", lambda samples, scan: samples),
    "float": ("rf", lambda samples, scan: samples.astype(np.float32) * 1e-4),
    "8 bit": ("rf", lambda samples, scan: (samples // 256).astype(np.int8)),
    "clipped": ("rf", lambda samples, scan: samples.clip(-1000, 1000)),
    "upon an offset": ("offset", lambda samples, scan: (samples + 32768.0).astype(np.uint16)),
    "unsigned read as signed": (
        "unsigned",
        lambda samples, scan: (samples + 32768.0).astype(np.uint16).view(np.int16),
    ),
    "far above 0": ("offset", lambda samples, scan: (samples / 8 + 16384).astype(np.int16)),
    "far below 0": ("rf", lambda samples, scan: (samples / 8 - 16384).astype(np.int16)),
    "saturated": ("rf", lambda samples, scan: (100.0 * samples).clip(-32768, 32767).astype(np.int16)),
    "lines first": ("lines_first", lambda samples, scan: samples.T),
    "bytes swapped": ("byte_order", lambda samples, scan: samples.byteswap()),
    "float bytes swapped": ("byte_order", lambda samples, scan: samples.astype(np.float32).byteswap()),
    "envelope": ("picture", envelope),
    "B-mode": ("picture", bmode),
    "B-mode lines first": ("picture", lambda samples, scan: bmode(samples, scan).T),
    "B-mode in dB": ("demodulated", decibels),
    "I alone": ("demodulated", lambda samples, scan: baseband(samples, scan).real),
    "I and Q lines": ("demodulated", iq_lines),
    "I and Q in turns": ("iq_turns", iq_in_turns),
    "zeros": ("blank", lambda samples, scan: np.zeros_like(samples)),
    "one value": ("blank", lambda samples, scan: np.full_like(samples, 7)),
    "few rows": ("blank", lambda samples, scan: samples[:16]),
    "not a number": ("blank", lambda samples, scan: np.full(samples.shape, np.nan, np.float32)),
    "noise": ("noise", lambda samples, scan: np.random.default_rng(1).standard_normal(samples.shape)),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("f0_hz", [4e6, 6.5e6, 10e6])
def test_each_kind_is_called_by_its_name(name: str, f0_hz: float) -> None:
    scan = scan_of(f0_hz)
    kind, made_of = KINDS[name]
    signal = check_signal(made_of(simulated(scan), scan), scan)
    assert signal.kind == kind, signal
    assert signal.refused == (kind in ("picture", "demodulated", "lines_first", "byte_order", "iq_turns"))
    assert bool(signal.line) == (kind not in ("rf", "blank"))


def test_the_remedy_is_in_the_line() -> None:
    scan = scan_of()
    samples = simulated(scan)
    assert check_signal(samples.T, scan).line.endswith(": --transpose")
    assert "B-mode or an envelope" in check_signal(bmode(samples, scan), scan).line
    elsewhere = check_signal(samples, scan_of(2.5e6))
    assert elsewhere.kind == "f0"
    assert not elsewhere.refused
    assert "6.5 MHz: --f0-mhz, or --fs-mhz?" in elsewhere.line


def degraded(samples: Samples) -> Iterator[tuple[str, Samples]]:
    """The same echoes, worse."""
    clean = samples / samples.std()
    noise = np.random.default_rng(2).standard_normal(samples.shape)
    depth = np.linspace(0, 1, len(samples))[:, None]
    yield "clean", clean
    yield "noise as strong", clean + noise
    yield "fading into noise", clean * np.exp(-8 * depth) + 0.05 * noise
    yield "drifting offset", clean + 3 * np.sin(9 * depth)
    yield "saturated at the end", clean + 20 * (depth > 0.9)
    yield "echoes in the first quarter", clean * (depth < 0.25)
    yield "one line", clean[:, :1]
    yield "every line the same", np.repeat(clean[:, :1], 96, axis=1)
    yield "lines unlike each other", clean[:, np.random.default_rng(3).permutation(samples.shape[1])]
    yield "lines of alternate sign", clean * np.where(np.arange(samples.shape[1]) % 2, 1, -1)


@pytest.mark.parametrize("bandwidth", [0.25, 0.6, 0.9])
@pytest.mark.parametrize("cycles", [0.05, 0.1, 0.1625, 0.25, 0.325, 0.4])
def test_rf_of_any_simulated_scanner_passes(cycles: float, bandwidth: float) -> None:
    scan = scan_of(cycles * 40e6)
    for shape, seed in product([(384, 64), (1024, 128)], range(2)):
        samples = simulated(scan, shape, bandwidth, seed)
        signal = check_signal(samples, scan)
        assert signal.kind == "rf"
        assert signal.share > 0.8
        for name, worse in degraded(samples):
            assert not check_signal(worse, scan).refused, name


def test_rf_at_20_mhz_of_a_pulse_of_6_5_mhz_passes() -> None:
    scan = scan_of(6.5e6, fs_hz=20e6)
    assert check_signal(simulated(scan), scan).kind == "rf"


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.4, 2, 3])
def test_a_wrong_centre_frequency_is_never_refused(factor: float) -> None:
    for cycles in (0.05, 0.1, 0.16, 0.24, 0.325):
        if factor * cycles < 0.5:
            samples = simulated(scan_of(cycles * 40e6))
            assert check_signal(samples, scan_of(factor * cycles * 40e6)).kind in ("rf", "f0")


def test_public_rf_passes_and_what_is_made_of_it_does_not(rf_folder: Path) -> None:
    found = list(public_frames(rf_folder))
    assert len(found) > 20
    for name, samples, f0_hz in found:
        for factor in (0.85, 1, 1.15):
            scan = scan_of(factor * f0_hz)
            signal = check_signal(samples, scan)
            assert (signal.kind, signal.line) == ("rf", ""), name
        scan = scan_of(f0_hz)
        for kind, made_of in (KINDS["lines first"], KINDS["envelope"], KINDS["B-mode"]):
            assert check_signal(made_of(samples, scan), scan).kind == kind, name


def test_frames_that_cannot_be_judged_leave_it_to_the_next() -> None:
    scan = scan_of()
    samples = simulated(scan)
    blank, noise = np.zeros_like(samples), np.random.default_rng(0).standard_normal(samples.shape)
    assert check_frames([blank, noise, samples], scan).kind == "rf"
    assert check_frames([blank, samples.T, samples.T, samples.T], scan).kind == "lines_first"
    assert check_frames([samples.T, samples.T, samples], scan).kind == "rf"
    assert check_frames([blank, noise], scan).kind == "noise"
    assert check_frames([], scan) == Signal(kind="blank")


def test_only_as_many_frames_are_read_as_it_takes() -> None:
    scan = scan_of()
    frames = iter([simulated(scan)] * 5)
    check_frames(frames, scan, judged=2)
    assert len(list(frames)) == 3
