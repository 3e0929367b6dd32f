"""Strain ratios of two rectangles in pictures, separately for each browser.

Pictures are measured as they were sent; of a frozen display the browser sends back the pictures that it has kept. So a
viewer needs no access to the server's control socket, and browsers do not share rectangles. Invariant: a reading is
taken from live images of one session only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from usert.beam_space import BeamSpace
from usert.errors import OptionError, UsertError, WireError

from ..imaging.strain_ratio import RatioMeter, RatioReading, RatioRule, Rectangle
from .planes import Plane, strain_of, unpack

MOST_IMAGES = RatioRule().frames
_PLANES = ("strain", "quality")
_MOST_TEXT = 64
_FARTHEST_MM = 1e5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """The part of a picture that is measured."""

    state: str
    session: int
    readable_quality: float
    """Quality from which on a pixel may be read; 0: unknown."""
    space: BeamSpace
    """Where the pixels of the planes lie."""
    common_sample: float
    """Rows of the frame that a sample of RF takes where it is sampled as is common (`usert.iq.common_sample`)."""
    strain: Plane
    quality: Plane

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
        return cls(
            state=str(fields["state"]),
            session=int(fields["session"]),
            readable_quality=float(fields["readable_quality"]),
            space=_space(fields, planes["strain"]),
            common_sample=_common_sample(fields),
            strain=planes["strain"],
            quality=planes["quality"],
        )


class Ruler:
    """Reads the same two rectangles in one picture after another."""

    def __init__(self, target: Rectangle, background: Rectangle) -> None:
        self.rectangles = target, background
        self._meter: RatioMeter | None = None
        self._session = 0

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Parse `target` and `background` as a browser sends them. Errors: `OptionError`."""
        texts = [str(fields.get(name, ""))[:_MOST_TEXT] for name in ("target", "background")]
        return cls(*map(Rectangle.parse, texts))

    def read(self, picture: Measured) -> RatioReading | None:
        """The reading with `picture` as the newest; None for a picture that is not live."""
        if picture.state != "live":
            return None
        rule = _rule(picture)
        if self._meter is None or self._meter.rule != rule:
            self._meter = RatioMeter(*self.rectangles, rule)
        elif picture.session != self._session:
            self._meter.reset()
        self._session = picture.session
        return self._meter.read(strain_of(picture.strain), picture.quality.values / 255.0, picture.space)


def measure(body: bytes) -> RatioReading | None:
    """The reading over pictures that a browser kept, oldest first; None when none of them is live.

    `body` is the length of a JSON object (uint32, little-endian), the object with `target`, `background` and the
    `sizes` of the pictures in bytes, then the pictures. Errors: `UsertError`.
    """
    view = memoryview(body)
    try:
        (room,) = struct.unpack("<I", view[:4])
        asked = json.loads(bytes(view[4 : 4 + room]))
        ruler, sizes = Ruler.parse(asked), [int(size) for size in asked["sizes"]]
    except OptionError:
        raise
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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


def _common_sample(fields: Mapping[str, Any]) -> float:
    """Errors: `KeyError`, `TypeError`, `ValueError`."""
    rows = float(fields["common_sample"])
    if not 0 < rows <= 1e4:
        raise ValueError(f"a valid common_sample: {rows:g}")
    return rows


def _rule(picture: Measured) -> RatioRule:
    """The default rule with sizes in pixels of the plane instead of samples and lines of the frame."""
    usual, (down, across) = RatioRule(), picture.strain.step
    return RatioRule(
        readable_quality=min(1.0, picture.readable_quality or usual.readable_quality),
        least_pixels=max(1, usual.least_pixels // (down * across)),
        patch=(
            max(1, round(usual.patch[0] * picture.common_sample) // down),
            max(1, usual.patch[1] // across),
        ),
    )
