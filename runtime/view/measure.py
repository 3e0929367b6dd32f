"""What is measured in pictures, separately for each browser: strain of its regions, their ratios, one histogram.

Pictures are measured as they were sent; of a frozen display the browser sends back the pictures that it has kept. So a
viewer needs no access to the server's control socket, and browsers do not share regions. Invariant: a reading is taken
from live images of one session only.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from usert.beam_space import BeamSpace
from usert.errors import OptionError, UsertError, WireError

from ..imaging.strain_ratio import RatioHistory, RatioReading, RatioRule, RegionReading, read_region
from ..protocol.header import as_fields
from .histogram import Histogram
from .planes import Plane, strain_of, unpack
from .region import Pixels, Region

MOST_IMAGES = RatioRule().frames
MOST_REGIONS = 8
_PLANES = ("strain", "quality")
_FARTHEST_MM = 1e5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """The part of a picture that is measured."""

    state: str
    session: int
    rule: RatioRule
    """The default rule with sizes in pixels of the planes instead of samples and lines of the frame."""
    space: BeamSpace
    """Where the pixels lie."""
    strain: NDArray[np.float32]
    """Strain (n, m), a fraction, NaN where unknown."""
    quality: NDArray[np.float32]
    """Quality (n, m) from 0 to 1."""

    @classmethod
    def from_message(cls, message: bytes | memoryview) -> Self:
        """Read the measured part of a picture as it was sent. Errors: `WireError`."""
        try:
            return cls.of(*unpack(message, _PLANES))
        except (KeyError, TypeError, ValueError) as error:
            raise WireError(f"picture: got a header without {error}") from error

    @classmethod
    def of(cls, fields: Mapping[str, Any], planes: Mapping[str, Plane]) -> Self:
        """The measured part of a picture, from its header fields and planes.

        Errors: `KeyError`, `TypeError`, `ValueError`.
        """
        strain, quality = (planes[name] for name in _PLANES)
        if strain.values.shape != quality.values.shape:
            raise ValueError(f"planes of one shape: {strain.values.shape}, {quality.values.shape}")
        return cls(
            state=str(fields["state"]),
            session=int(fields["session"]),
            rule=_rule(fields, strain.step),
            space=_space(fields, strain),
            strain=strain_of(strain),
            quality=quality.values.astype(np.float32) / np.float32(255),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a browser wants to be measured."""

    version: int
    """Number that the browser gave this plan, returned in each reading."""
    regions: tuple[Region, ...]
    reference: int | None = None
    """Index of the region that the others are divided by."""
    histogram: int | None = None
    """Index of the region whose histogram is made."""

    @classmethod
    def parse(cls, fields: Any) -> Self:
        """Parse `version`, `shapes`, `reference` and `histogram` as a browser sends them. Errors: `OptionError`."""
        fields = fields if isinstance(fields, Mapping) else {}
        shapes = fields.get("shapes")
        if not isinstance(shapes, list) or not 1 <= len(shapes) <= MOST_REGIONS:
            raise OptionError(f"regions: got {str(shapes)[:60]}, expected a list of 1 to {MOST_REGIONS}")
        chosen = {name: fields.get(name) for name in ("reference", "histogram")}
        for name, index in chosen.items():
            if index is not None and not (type(index) is int and 0 <= index < len(shapes)):
                raise OptionError(f"regions: got {name} {str(index)[:20]}, expected the index of a region")
        version = fields.get("version", 0)
        if not (type(version) is int and 0 <= version < 2**53):
            raise OptionError(f"regions: got version {str(version)[:20]}, expected a count")
        return cls(version=version, regions=tuple(map(Region.parse, shapes)), **chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The newest image's regions, in the order of the plan."""

    version: int
    regions: tuple[RegionReading | None, ...]
    """None for a region that is not wholly inside the image."""
    ratios: tuple[RatioReading | None, ...]
    """Of each region over the reference, without the readings that it is of; None for the reference itself."""
    histogram: Histogram | None = None
    """None, too, where nothing may be read."""

    @property
    def fields(self) -> dict[str, Any]:
        """The reading as a JSON object."""
        parts = {name: [as_fields(one) for one in getattr(self, name)] for name in ("regions", "ratios")}
        return {"version": self.version, **parts, "histogram": as_fields(self.histogram)}


class Ruler:
    """Measures the same plan in one picture after another."""

    def __init__(self, plan: Plan, before: Ruler | None = None) -> None:
        """`before`: the ruler of this browser until now; the ratios of regions that have not changed go on."""
        self.plan = plan
        self._last: Measured | None = before._last if before else None
        kept = before._pixels.items() if before else ()
        self._pixels: dict[Region, Pixels | None] = {one: at for one, at in kept if one in plan.regions}
        pairs = before._ratios.items() if before else ()
        self._ratios: dict[tuple[Region, Region], tuple[RatioHistory, RatioReading | None]] = {
            pair: found for pair, found in pairs if set(pair) <= set(plan.regions)
        }

    def read(self, picture: Measured) -> Reading | None:
        """The reading with `picture` as the newest, counted once; None for a picture that is not live."""
        if picture.state != "live":
            return None
        last, self._last = self._last, picture
        if last is None or (picture.session, picture.rule) != (last.session, last.rule):
            self._ratios.clear()
        if last is None or picture.space != last.space:
            self._pixels.clear()
        if picture is not last:
            self._ratios = {pair: (history, None) for pair, (history, _) in self._ratios.items()}
        regions = tuple(self._region(region, picture) for region in self.plan.regions)
        return Reading(
            version=self.plan.version,
            regions=regions,
            ratios=tuple(self._ratio(at, regions, picture.rule) for at in range(len(regions))),
            histogram=self._histogram(picture),
        )

    def _region(self, region: Region, picture: Measured) -> RegionReading | None:
        pixels = self._pixels_of(region, picture.space)
        if pixels is None:
            return None
        rows, lines, mask = pixels
        return read_region(picture.strain[rows, lines], picture.quality[rows, lines], picture.rule, mask)

    def _histogram(self, picture: Measured) -> Histogram | None:
        at = self.plan.histogram
        pixels = None if at is None else self._pixels_of(self.plan.regions[at], picture.space)
        if pixels is None:
            return None
        rows, lines, mask = pixels
        return Histogram.of(
            picture.strain[rows, lines], picture.quality[rows, lines], picture.rule.readable_quality, mask
        )

    def _ratio(
        self, at: int, regions: tuple[RegionReading | None, ...], rule: RatioRule
    ) -> RatioReading | None:
        plan = self.plan
        if plan.reference is None or at == plan.reference:
            return None
        target, background = regions[at], regions[plan.reference]
        if target is None or background is None:
            return RatioReading(refused="outside")
        pair = plan.regions[at], plan.regions[plan.reference]
        history, ratio = self._ratios.get(pair) or (RatioHistory(rule), None)
        if ratio is None:
            ratio = replace(history.add(target, background), target=None, background=None)
            self._ratios[pair] = history, ratio
        return ratio

    def _pixels_of(self, region: Region, space: BeamSpace) -> Pixels | None:
        if region not in self._pixels:
            self._pixels[region] = region.pixels(space)
        return self._pixels[region]


def measure(body: bytes) -> Reading | None:
    """The reading over pictures that a browser kept, oldest first; None when none of them is live.

    `body` is the length of a JSON object (uint32, little-endian), the object with the fields of a `Plan` and the
    `sizes` of the pictures in bytes, then the pictures. Errors: `UsertError`.
    """
    view = memoryview(body)
    try:
        (room,) = struct.unpack("<I", view[:4])
        asked = json.loads(bytes(view[4 : 4 + room]))
        ruler, sizes = Ruler(Plan.parse(asked)), [int(size) for size in asked["sizes"]]
    except OptionError:
        raise
    except (
        struct.error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise WireError(f"measure: got an invalid request ({error})") from error
    if not 1 <= len(sizes) <= MOST_IMAGES or min(sizes) <= 0 or 4 + room + sum(sizes) != len(view):
        raise WireError(
            f"measure: got {len(sizes)} pictures, expected 1 to {MOST_IMAGES} with the sizes that the request states"
        )
    reading, place = None, 4 + room
    for size in sizes:
        reading = ruler.read(Measured.from_message(view[place : place + size])) or reading
        place += size
    return reading


def one_line(error: UsertError) -> str:
    """The message of `error` in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]


def _space(fields: Mapping[str, Any], plane: Plane) -> BeamSpace:
    """Errors: `KeyError`, `TypeError`, `ValueError`."""
    lines = {"step": fields["pitch_mm"], "first": fields.get("origin_mm", (0, 0)), "radius_mm": None}
    grid = fields.get("fan", lines)
    down, across = map(float, grid["step"])
    depth, place = map(float, grid["first"])
    radius_mm = None if grid["radius_mm"] is None else float(grid["radius_mm"])
    if not (0 < down < 100 and 0 < across < 100):
        raise ValueError(f"a valid pitch_mm: {down:g}, {across:g}")
    if not all(abs(number) < _FARTHEST_MM for number in (depth, place, radius_mm or 0.0)):
        raise ValueError(f"valid places: {depth:g}, {place:g}, {radius_mm}")
    return BeamSpace(
        shape=plane.values.shape[:2],
        first=(depth, place),
        step=(down * plane.step[0], across * plane.step[1]),
        radius_mm=radius_mm,
    )


def _rule(fields: Mapping[str, Any], step: tuple[int, int]) -> RatioRule:
    """Errors: `KeyError`, `TypeError`, `ValueError`."""
    usual, (down, across) = RatioRule(), step
    rows, readable_quality = float(fields["common_sample"]), float(fields["readable_quality"])
    if not 0 < rows <= 1e4:
        raise ValueError(f"a valid common_sample: {rows:g}")
    if not 0 <= readable_quality < math.inf:
        raise ValueError(f"a valid readable_quality: {readable_quality:g}")
    return RatioRule(
        readable_quality=min(1.0, readable_quality or usual.readable_quality),
        least_pixels=max(1, usual.least_pixels // (down * across)),
        patch=(max(1, round(usual.patch[0] * rows) // down), max(1, usual.patch[1] // across)),
    )
