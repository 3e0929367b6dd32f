"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from usert.frame import RFFrame, Scan


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled engines are kept in a folder of this run, not in the user's; and ONNX Runtime reports nothing."""
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # one folder for all workers of a run, above theirs
        run = run.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORT_DISABLE_TELEMETRY", "1")
        patch.setenv("XDG_CACHE_HOME", str(run / "cache"))
        yield


@pytest.fixture(scope="session")
def rf_folder() -> Path:
    """RF frames of public data sets, beside the checkout; tests that need them skip where they are absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "rf"
    if not folder.is_dir():
        pytest.skip(f"no RF frames in {folder}")
    return folder


@pytest.fixture(scope="session")
def cases_folder() -> Path:
    """Small inputs that went wrong once, beside the checkout; tests that need them skip where they are absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip(f"no inputs in {folder}")
    return folder


@pytest.fixture(scope="session")
def scan() -> Scan:
    return Scan(fs_hz=40e6, f0_hz=6.25e6, sound_speed_m_s=1540, line_pitch_mm=0.108)


@pytest.fixture(scope="session")
def make_frame(scan: Scan) -> Callable[..., RFFrame]:
    """Speckle-like noise about f0: `make_frame(seed, shape=(N, M), dtype=...)`."""

    def make(seed: int = 0, shape: tuple[int, int] = (128, 16), dtype: str = "int16") -> RFFrame:
        noise = np.random.default_rng(seed).standard_normal((shape[0] + 32, shape[1]))
        t = np.arange(-16, 17)
        pulse = np.cos(2 * np.pi * scan.f0_hz / scan.fs_hz * t) * np.exp(-((t / 6.0) ** 2))
        rf = np.apply_along_axis(np.convolve, 0, noise, pulse, mode="valid")
        peak = 8000 if dtype == "int16" else 1
        samples = (rf / np.abs(rf).max() * peak).astype(dtype)
        return RFFrame(samples=samples, scan=scan, sequence=seed, acquired_ns=10**18 + 40_000_000 * seed)

    return make
