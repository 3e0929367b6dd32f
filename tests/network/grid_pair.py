"""A simulated pair on the depth grid, with its truth there; not a test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from usert.frame import Scan
from usert.front_end import SAMPLES_PER_WAVELENGTH, depth_grid, grid_rows
from usert.network.baseband import Signals, baseband
from usert.network.grids import at_depths
from usert.phantom.field import Field
from usert.phantom.scanner import ScannerConfig, SimulatedScanner


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPair:
    """Frames 0 (released) and 1 (pressed) of one scanner."""

    first: NDArray[np.int16]
    second: NDArray[np.int16]
    cycles: float
    depths: Tensor
    signals: Signals
    truth: Tensor
    """(1, 2, K, M): axial in rows of the grid, lateral in lines."""
    samples: NDArray[np.float32]
    """(2, N, M): the same in samples and lines."""

    @property
    def rows(self) -> int:
        """Of the grid that are inside the frame."""
        return int((self.depths <= self.first.shape[0] - 1).sum())

    def apart(self, displacement: Tensor) -> Tensor:
        """Error (2, k, m) away from the edges, of a displacement on the grid."""
        error = (displacement - self.truth)[0, :, : self.rows, 4:-4]
        return error[:, self.rows // 16 : -self.rows // 16]


def grid_pair(
    *,
    strain: float = 0.02,
    shape: tuple[int, int] = (768, 96),
    fs_mhz: float = 40.0,
    f0_mhz: float = 6.5,
    seed: int = 0,
    noise: float = 0.02,
    unit_field: Field | None = None,
) -> GridPair:
    """A press of `strain` on a lesion three times as stiff, or `strain` times the motion `unit_field`."""
    scan = Scan(fs_hz=1e6 * fs_mhz, f0_hz=1e6 * f0_mhz, sound_speed_m_s=1540.0, line_pitch_mm=0.12)
    config = ScannerConfig(
        scan=scan,
        shape=shape,
        peak_strain=strain,
        period_frames=2,
        tilt=0.1,
        noise=noise,
        unit_field=unit_field,
    )
    scanner = SimulatedScanner(config, seed)
    frames = [scanner.frame(k).samples for k in (0, 1)]
    cycles = scan.cycles_per_sample
    depths = torch.from_numpy(depth_grid(grid_rows(shape[0], cycles), cycles))
    first, second = (torch.from_numpy(frame.astype(np.float32))[None] for frame in frames)
    samples = scanner.truth(0, 1)
    truth = at_depths(torch.from_numpy(samples)[None], depths)
    truth = torch.cat((truth[:, :1] * cycles * SAMPLES_PER_WAVELENGTH, truth[:, 1:]), dim=1)
    return GridPair(
        first=frames[0],
        second=frames[1],
        cycles=cycles,
        depths=depths,
        signals=baseband(first, second, depths),
        truth=truth,
        samples=samples,
    )
