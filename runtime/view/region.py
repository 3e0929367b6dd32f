"""Regions of an image that a person draws: rectangles, ellipses and closed free-hand lines, in mm.

A region knows its outline and which samples lie in it, on parallel lines and on the fan of a curved array alike; of
names and roles the page alone knows. Invariant: an outline does not cross itself, so that it has one inside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from usert.beam_space import BeamSpace, Span
from usert.errors import OptionError

MOST_POINTS = 64
"""Largest number of points of a polygon."""
_FARTHEST_MM = 1e4
_ROUND = np.linspace(0, 2 * math.pi, MOST_POINTS, endpoint=False)

Kind = Literal["rectangle", "ellipse", "polygon"]
Pixels: TypeAlias = tuple[slice, slice, NDArray[np.bool_] | None]
"""Rows, lines, and which of the samples in them lie in a region, None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A part of an image in mm: depth, and lateral from the first line or the centre line (`usert.beam_space`)."""

    kind: Kind
    depth_mm: Span
    """Depths of the rectangle around the region; of an ellipse, before it is turned."""
    lateral_mm: Span
    """Lateral positions of the rectangle around the region; of an ellipse, before it is turned."""
    points: tuple[tuple[float, float], ...] = ()
    """Depth and lateral of the corners of a polygon; it is closed from the last to the first."""
    angle_deg: float = 0.0
    """Degrees by which an ellipse is turned about its centre, from down towards larger lateral positions."""

    @classmethod
    def parse(cls, fields: Any) -> Self:
        """Parse a region as a browser sends it.

        `fields`: `kind` with `depth` and `lateral`, from and to in mm, or of a polygon with `points`, each a depth and
        a lateral position; of an ellipse also `angle_deg`, 0 if absent. Errors: `OptionError`.
        """
        if not isinstance(fields, Mapping) or fields.get("kind") not in get_args(Kind):
            raise OptionError(f"region: got {_short(fields)}, expected one of {', '.join(get_args(Kind))}")
        if fields["kind"] == "polygon":
            points = _pairs(fields.get("points"), 3, MOST_POINTS)
            if _crosses_itself(np.array(points)):
                raise OptionError(
                    "region: got a line that crosses itself, expected one with a single inside: draw it again"
                )
            depth, lateral = ((min(along), max(along)) for along in zip(*points, strict=True))
        else:
            points = ()
            depth, lateral = _pairs([fields.get("depth"), fields.get("lateral")], 2, 2)
        for name, (first, last) in (("depth", depth), ("lateral", lateral)):
            if not first < last:
                raise OptionError(f"region: got {name} {first:g}:{last:g} mm, expected a:b with a < b")
        angle = fields.get("angle_deg", 0) if fields["kind"] == "ellipse" else 0
        if type(angle) not in (int, float) or not abs(angle) <= 360:
            raise OptionError(f"region: got angle {_short(angle)}, expected -360 to 360 degrees")
        return cls(
            kind=fields["kind"], depth_mm=depth, lateral_mm=lateral, points=points, angle_deg=float(angle)
        )

    @property
    def outline(self) -> NDArray[np.float64]:
        """Depth and lateral (n, 2) of points on the outline, in order; of an ellipse `MOST_POINTS` of them."""
        (top, bottom), (left, right) = self.depth_mm, self.lateral_mm
        if self.kind == "rectangle":
            return np.array([(top, left), (top, right), (bottom, right), (bottom, left)])
        if self.kind == "polygon":
            return np.array(self.points)
        down, across = (bottom - top) / 2 * np.cos(_ROUND), (right - left) / 2 * np.sin(_ROUND)
        cos, sin = self._turn
        return np.stack(
            ((top + bottom) / 2 + down * cos - across * sin, (left + right) / 2 + down * sin + across * cos),
            axis=1,
        )

    @property
    def _turn(self) -> tuple[float, float]:
        """Cosine and sine of the angle of an ellipse."""
        angle = math.radians(self.angle_deg)
        return math.cos(angle), math.sin(angle)

    def pixels(self, space: BeamSpace) -> Pixels | None:
        """The samples whose centres lie in the region; None where it is not wholly inside the image."""
        if self.kind == "rectangle":
            return space.pixels_in(self.depth_mm, self.lateral_mm)
        box = _box(self.outline, space)
        if box is None:
            return None
        if self.kind == "polygon":
            return *box, _inside_polygon(self.outline, space, *box)
        rows, lines = box
        z, x = space.place_mm(
            np.arange(rows.start, rows.stop)[:, np.newaxis], np.arange(lines.start, lines.stop)
        )
        (top, bottom), (left, right) = self.depth_mm, self.lateral_mm
        z, x = z - (top + bottom) / 2, x - (left + right) / 2
        cos, sin = self._turn
        down, across = 2 * (z * cos + x * sin) / (bottom - top), 2 * (x * cos - z * sin) / (right - left)
        return rows, lines, down**2 + across**2 <= 1


def _box(outline: NDArray[np.float64], space: BeamSpace) -> tuple[slice, slice] | None:
    """Rows and lines with all samples inside an outline; None where it leaves the image."""
    z, x = outline.T
    if space.radius_mm is not None and z.min() + space.radius_mm <= 0:
        return None
    row, line = space.position(z, x)
    above = row.min()
    if space.radius_mm is not None:  # a straight edge comes nearer to the array than its ends
        above = min(
            above,
            (_nearest(outline + np.array((space.radius_mm, 0))) - space.radius_mm - space.first[0])
            / space.step[0],
        )
    spans = []
    for first, last, count in ((above, row.max(), space.shape[0]), (line.min(), line.max(), space.shape[1])):
        if not -1 < first <= last < count:
            return None
        start = math.ceil(first)
        spans.append(slice(start, max(start, math.floor(last) + 1)))
    return spans[0], spans[1]


def _nearest(outline: NDArray[np.float64]) -> float:
    """Distance of the nearest point of a closed line from the origin."""
    along = np.roll(outline, -1, axis=0) - outline
    share = -(outline * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-30)
    return float(np.hypot(*(outline + np.clip(share, 0, 1)[:, np.newaxis] * along).T).min())


def _inside_polygon(
    outline: NDArray[np.float64], space: BeamSpace, rows: slice, lines: slice
) -> NDArray[np.bool_]:
    """Mask of the samples in `rows` and `lines` with an odd number of crossings of the outline before them."""
    count, width = rows.stop - rows.start, lines.stop - lines.start
    depth = space.first[0] + np.arange(rows.start, rows.stop)[:, np.newaxis] * space.step[0]
    if space.radius_mm is None:
        row, across = _crossings_of_lines(outline, depth)
    else:
        row, across = _crossings_of_arcs(outline + np.array((space.radius_mm, 0)), depth + space.radius_mm)
    line = np.ceil((across - space.first[1]) / space.step[1] - lines.start).clip(0, width).astype(np.intp)
    crossings = np.bincount(row * (width + 1) + line, minlength=count * (width + 1)).reshape(count, width + 1)
    return np.asarray(crossings.cumsum(axis=1)[:, :width] % 2 == 1)


def _crossings_of_lines(
    outline: NDArray[np.float64], depth: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index of the depth (n, 1) and lateral position of each crossing of the outline with the line at that depth."""
    (z, x), (z_next, x_next) = outline.T, np.roll(outline, -1, axis=0).T
    row, edge = np.nonzero((z <= depth) != (z_next <= depth))
    share = (depth[row, 0] - z[edge]) / (z_next - z)[edge]
    return row, x[edge] + share * (x_next - x)[edge]


def _crossings_of_arcs(
    outline: NDArray[np.float64], radius: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index of the radius (n, 1) and angle of each crossing of an outline about the origin with the arc of that radius.

    An edge with one end inside the circle crosses it once; one with both ends outside twice, where it comes nearer
    than the radius between them, or never.
    """
    along = np.roll(outline, -1, axis=0) - outline
    a, b = (along**2).sum(axis=1), (outline * along).sum(axis=1)
    c = (outline**2).sum(axis=1) - radius**2
    outer = c > 0
    outer_next = np.roll(outer, -1, axis=1)
    root = np.sqrt(np.maximum(b**2 - a * c, 0))
    twice = outer & outer_next & (b < 0) & (-b < a) & (root > 0)
    rows, angles = [], []
    for sign, hit in ((1, (~outer & outer_next) | twice), (-1, (outer & ~outer_next) | twice)):
        row, edge = np.nonzero(hit)
        share = (-b[edge] + sign * root[row, edge]) / a[edge]
        z, x = (outline[edge] + share[:, np.newaxis] * along[edge]).T
        rows.append(row)
        angles.append(np.arctan2(x, z))
    return np.concatenate(rows), np.concatenate(angles)


def _crosses_itself(outline: NDArray[np.float64]) -> bool:
    """Whether any two edges of a closed line that are not neighbours have a point in common."""
    count, after = len(outline), np.roll(outline, -1, axis=0)
    one, other = np.triu_indices(count, 2)
    apart = (other - one) < count - 1  # the last edge is a neighbour of the first
    one, other = one[apart], other[apart]
    a, b, c, d = outline[one], after[one], outline[other], after[other]

    def side(start: NDArray[Any], end: NDArray[Any], at: NDArray[Any]) -> NDArray[Any]:
        turn: NDArray[Any] = (end - start)[:, 0] * (at - start)[:, 1] - (end - start)[:, 1] * (at - start)[
            :, 0
        ]
        return np.asarray(np.sign(turn))

    return bool(((side(a, b, c) != side(a, b, d)) & (side(c, d, a) != side(c, d, b))).any())


def _pairs(value: Any, least: int, most: int) -> tuple[tuple[float, float], ...]:
    """Errors: `OptionError` for anything but `least` to `most` pairs of numbers in mm."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not least <= len(value) <= most:
        count = f"{len(value)} points" if isinstance(value, list) else _short(value)
        raise OptionError(f"region: got {count}, expected {least} to {most}")
    try:
        pairs = tuple((_number(first), _number(last)) for first, last in value)
    except (TypeError, ValueError) as error:
        raise OptionError(f"region: got {_short(value)}, expected pairs of numbers in mm") from error
    return pairs


def _number(value: Any) -> float:
    """Errors: `ValueError`."""
    if type(value) not in (int, float) or not abs(value) < _FARTHEST_MM:
        raise ValueError(value)
    return float(value)


def _short(value: Any) -> str:
    return repr(value)[:60]
