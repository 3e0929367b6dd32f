"""A recording of speckle, and `usert run` as a process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

SHAPE = (96, 24)
SCAN = {"fs_hz": 40e6, "f0_hz": 6.25e6, "sound_speed_m_s": 1540.0, "line_pitch_mm": 0.108}


def write(path: Path, frames: np.ndarray) -> Path:
    """A recording made by hand, as the format is published."""
    with h5py.File(path, "w") as file:
        file["rf"] = frames
        file.attrs.update(SCAN)
    return path


def write_noise(path: Path, seed: int, frames: int = 4) -> Path:
    """A recording of noise, in a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    return write(path, rng.integers(-900, 900, (frames, *SHAPE), dtype=np.int16))


def speckle(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(-900, 900, (count, *SHAPE), dtype=np.int16)


def usert(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    command = [sys.executable, "-m", "usert", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def hashes(folder: Path) -> dict[str, str]:
    """Every file beneath, and the hash of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
