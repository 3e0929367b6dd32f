"""The simulated scanner: a probe on a phantom with one lesion, pressed and released by hand.

Frame k sees the tissue in a state that is a known function, so the displacement between any two frames is known too.
The tissue is a plate with one disc, in closed form, or whatever elastic field the config gives. The hand also
slides a little sideways and tilts, so that new tissue enters the slice; the electronics add noise.

Knows nothing of sockets or files. Invariant: a scanner gives the same frame k whenever asked, and frames one period
apart show the tissue in the same state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError
from ..frame import RFFrame, Scan
from .beam import Beam, rf_image
from .field import Field, Rigid, Scaled, Sum, between, grid_mm
from .inclusion import Inclusion
from .scatterers import Scatterers, random_scatterers

FULL_SCALE = 2.0**12
"""Rms echo in int16 counts: peaks are cut at 8 standard deviations, that is, never."""
MOST_SAMPLES = 2**24
"""Largest frame; ten times what scanners deliver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerConfig:
    """The scan, the tissue, the motion of the hand and the noise. Errors: `OptionError` for a value out of range."""

    scan: Scan = field(
        default_factory=lambda: Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.12)
    )
    shape: tuple[int, int] = (512, 128)
    """(N, M): axial samples, scan lines."""
    beam: Beam = field(default_factory=Beam)
    rate_hz: float = 20.0
    """Frames a second in the scanner's own time stamps."""
    period_frames: int = 40
    """Frames of one press and release."""
    peak_strain: float = 0.03
    """Axial strain at the deepest press, relative to the released state."""
    modulus_ratio: float = 3.0
    """Stiffness of the lesion over that of its surroundings."""
    radius: float = 0.28
    """Radius of the lesion over the shorter side of the frame."""
    slide_lines: float = 0.5
    """Lateral shift of the probe over a period."""
    tilt: float = 0.15
    """Largest out-of-plane angle in radians: frames at angles a and b have echoes that correlate by cos(a - b)."""
    noise: float = 0.02
    """Rms electronic noise over the rms echo."""
    unit_field: Field | None = None
    """Motion of the tissue per unit of axial strain, such as a `SlabField`, instead of the plate's closed form. The
    lesion's place, size and stiffness then only say where the masks are."""

    def __post_init__(self) -> None:
        if min(self.shape) < 32:
            raise OptionError(
                f"shape: got {self.shape[0]}x{self.shape[1]}, expected at least 32 samples and lines"
            )
        if self.shape[0] * self.shape[1] > MOST_SAMPLES:
            raise OptionError(
                f"shape: got {self.shape[0]}x{self.shape[1]}, expected at most {MOST_SAMPLES} samples in all"
            )
        if self.period_frames < 2:
            raise OptionError(f"period: got {self.period_frames} frames, expected at least 2")
        if not 0 <= self.peak_strain <= 0.1:
            raise OptionError(f"peak strain: got {self.peak_strain:g}, expected 0 to 0.1")
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise OptionError(f"rate: got {self.rate_hz:g} Hz, expected a number above 0")
        if not 1e-3 <= self.modulus_ratio <= 1e3:
            raise OptionError(f"modulus ratio: got {self.modulus_ratio:g}, expected 0.001 to 1000")
        if not 0 < self.radius < 0.5:
            raise OptionError(f"radius: got {self.radius:g}, expected more than 0, less than 0.5")
        for name in ("slide_lines", "tilt", "noise"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise OptionError(f"{name}: got {getattr(self, name):g}, expected 0 or more")


class SimulatedScanner:
    """A simulated scanner: frames of the phantom, in any order, and the true displacement between them.

    `seed` chooses the scatterers and the noise.
    """

    def __init__(self, config: ScannerConfig, seed: int = 0) -> None:
        self.config = config
        self.seed = seed

    @property
    def scan(self) -> Scan:
        """The scan of every frame."""
        return self.config.scan

    @property
    def period_frames(self) -> int:
        """Number of frames after which the motion repeats."""
        return self.config.period_frames

    @property
    def lesion(self) -> Inclusion:
        """The lesion's displacement field in closed form, for a far axial strain of 1."""
        height, width = self.size_mm
        return Inclusion(
            strain=1.0,
            centre_z_mm=height / 2,
            centre_x_mm=width / 2,
            radius_mm=self.config.radius * min(height, width),
            modulus_ratio=self.config.modulus_ratio,
        )

    @property
    def strain_ratio(self) -> float:
        """True axial strain of the lesion over that of the whole press (SR of the paper's Eq. 8)."""
        lesion, tissue = self.lesion, self.config.unit_field
        if tissue is None:
            return lesion.strain_inside
        # The mean along the vertical through the centre is the change of its length.
        half = 0.95 * lesion.radius_mm
        z = lesion.centre_z_mm + np.array([-half, half])
        dz, _ = tissue(z, np.full(2, lesion.centre_x_mm))
        return float(dz[0] - dz[1]) / (2 * half)

    def frame(self, k: int) -> RFFrame:
        """Frame k of the endless stream: int16 samples (N, M), stamped by the scanner's own clock, k / `rate_hz`."""
        config = self.config
        echo = rf_image(self._tissue(k).moved(self._state(k)), config.scan, config.shape, config.beam)
        noise = np.random.default_rng((self.seed, 1, k)).standard_normal(config.shape)
        samples = FULL_SCALE * (echo / self._rms + config.noise * noise)
        return RFFrame(
            samples=np.clip(np.rint(samples), -32768, 32767).astype(np.int16),
            scan=config.scan,
            sequence=k,
            time_ns=round(1e9 * k / config.rate_hz),
        )

    def truth(self, i: int, j: int) -> NDArray[np.float32]:
        """True displacement (2, N, M) from frame i to frame j, on the grid of frame i: samples and lines."""
        scan = self.config.scan
        z, x = grid_mm(self.config.shape, scan.axial_pitch_mm, scan.line_pitch_mm)
        dz, dx = between(self._state(i), self._state(j), z, x)
        return np.stack((dz / scan.axial_pitch_mm, dx / scan.line_pitch_mm)).astype(np.float32)

    def lesion_mask(self, margin: float = 0.0) -> NDArray[np.bool_]:
        """Mask (N, M) of the lesion in the released tissue, its radius grown by the share `margin`."""
        scan, lesion = self.config.scan, self.lesion
        z, x = grid_mm(self.config.shape, scan.axial_pitch_mm, scan.line_pitch_mm)
        distance = np.hypot(z - lesion.centre_z_mm, x - lesion.centre_x_mm)
        return np.asarray(distance < lesion.radius_mm * (1 + margin))

    @property
    def size_mm(self) -> tuple[float, float]:
        """Depth and width of the frame in mm."""
        rows, lines = self.config.shape
        return rows * self.scan.axial_pitch_mm, lines * self.scan.line_pitch_mm

    def _phase(self, k: int) -> float:
        return 2 * math.pi * (k % self.period_frames) / self.period_frames

    def _state(self, k: int) -> Field:
        """Where the tissue of the released state has gone in frame k."""
        phase = self._phase(k)
        press = self.config.peak_strain * (1 - math.cos(phase)) / 2
        slide_mm = self.config.slide_lines * self.scan.line_pitch_mm * math.sin(phase) / 2
        tissue = self.lesion if self.config.unit_field is None else self.config.unit_field
        return Sum(fields=(Scaled(field=tissue, scale=press), Rigid(dz_mm=0.0, dx_mm=slide_mm)))

    def _tissue(self, k: int) -> Scatterers:
        """The slice that the tilted probe sees: a mix of two independent ones."""
        angle = self.config.tilt * math.sin(self._phase(k) + 1.0)
        first, second = self._slices
        return Scatterers(
            z_mm=first.z_mm,
            x_mm=first.x_mm,
            amplitude=math.cos(angle) * first.amplitude + math.sin(angle) * second,
        )

    @cached_property
    def _slices(self) -> tuple[Scatterers, NDArray[Any]]:
        rng = np.random.default_rng((self.seed, 0))
        height, width = self.size_mm
        margin = 4 * self.config.beam.lateral_sigma_lines + max(4.0, self.config.slide_lines)
        aside = margin * self.scan.line_pitch_mm
        moved = self.config.peak_strain * max(height, width)
        cloud = random_scatterers(
            rng,
            z_mm=(-1.0, height + 2 * moved + 1.0),
            x_mm=(-aside - moved, width + aside + moved),
            per_mm2=0.5 / (self.scan.axial_pitch_mm * self.scan.line_pitch_mm),
        )
        return cloud, rng.standard_normal(cloud.amplitude.shape)

    @cached_property
    def _rms(self) -> float:
        config = self.config
        return float(np.std(rf_image(self._slices[0], config.scan, config.shape, config.beam)))
