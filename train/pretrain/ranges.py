"""The ranges of tissue, motion, scanner and faults from which training pairs are generated: `[ranges]` of a recipe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from usert.errors import RecipeError

POSITIVE = (
    "cycles_per_sample",
    "fractional_bandwidth",
    "lateral_sigma_lines",
    "pitch_wavelengths",
    "strain",
    "modulus_ratio",
    "decorrelation",
    "noise",
)
"""Ranges whose values are drawn by their logarithm or divided by."""
SHARES = ("fades", "shadows", "clutter", "downshifts")
"""Shares of the pairs that have a fault of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRanges:
    """The ranges from which a pair is drawn; each is (low, high), uniform unless stated otherwise.

    A wavelength is one cycle of the echo along depth: 1 / `cycles_per_sample` samples. Errors: `RecipeError` for an
    impossible range.
    """

    cycles_per_sample: tuple[float, float] = (0.11, 0.25)
    """Centre frequency over sampling frequency."""
    fractional_bandwidth: tuple[float, float] = (0.35, 0.8)
    """Full width at half maximum of the pulse's spectrum over its centre frequency."""
    lateral_sigma_lines: tuple[float, float] = (0.6, 2.6)
    """Standard deviation of the beam across the lines."""
    pitch_wavelengths: tuple[float, float] = (0.5, 2.0)
    """Line pitch; logarithmic."""
    strain: tuple[float, float] = (3e-4, 3e-2)
    """Far axial strain, a fraction; logarithmic, and negative (release) in one pair of four."""
    offset_wavelengths: float = 5.0
    """Largest axial shift of the probe."""
    offset_lines: float = 1.5
    """Largest lateral shift of the probe."""
    inclusions: tuple[int, int] = (0, 3)
    """Least and largest number of inclusions."""
    modulus_ratio: tuple[float, float] = (0.1, 10.0)
    """Stiffness of an inclusion over its surroundings; logarithmic."""
    decorrelation: tuple[float, float] = (0.01, 0.25)
    """Share of the scatterers' power that is replaced in the second frame; logarithmic."""
    noise: tuple[float, float] = (0.002, 0.08)
    """Electronic noise over the rms echo; logarithmic."""
    gain: float = 0.25
    """Largest relative change of gain between the frames: a factor of up to 1 + gain, either way."""
    decay: tuple[float, float] = (-3.0, 3.0)
    """Exponent of the echo level from top to bottom."""
    fades: float = 0.0
    """Share of pairs whose echoes fall from some depth on by up to 80 dB, so that noise takes over."""
    shadows: float = 0.0
    """Share of pairs with a shadow behind some depth, ten or more lines wide."""
    clutter: float = 0.0
    """Share of pairs with echoes near the probe that do not move with the tissue."""
    downshifts: float = 0.0
    """Share of pairs whose centre frequency falls by up to a quarter from top to bottom."""

    def __post_init__(self) -> None:
        for name in (field.name for field in dataclasses.fields(self)):
            value = getattr(self, name)
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise RecipeError(f"ranges.{name}: got {list(value)}, expected [low, high]")
            if name in POSITIVE and not value[0] > 0:
                raise RecipeError(f"ranges.{name}: got {list(value)}, expected numbers above 0")
            if name in SHARES and not 0 <= value <= 1:
                raise RecipeError(f"ranges.{name}: got {value}, expected 0 to 1")
        if self.inclusions[0] < 0 or self.decorrelation[1] > 1 or not 0 <= self.gain <= 10:
            raise RecipeError(
                f"ranges: got inclusions {list(self.inclusions)}, decorrelation {list(self.decorrelation)}, "
                f"gain {self.gain}, expected inclusions from 0, decorrelation up to 1, gain from 0 to 10"
            )
