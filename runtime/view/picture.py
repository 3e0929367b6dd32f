"""A strain image as browsers get it: its figures and its planes, encoded once for all.

`born_ms` is the time on this machine's monotonic clock from which the age of the image counts, by the client's rules of
`docs/protocol.md`. Invariant: the B-mode in a picture is that of the reference frame of its strain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from usert.beam_space import BeamSpace
from usert.frame import RFFrame
from usert.iq import common_sample

from ..protocol.age import Age
from ..protocol.header import as_fields
from ..protocol.strain_message import StrainMessage
from .bmode import RANGE_DB, BMode
from .measure import Measured
from .planes import MOST_STRAIN, Plane, least_readable, pack, quality_plane, steps, strain_plane
from .strain_range import StrainRange

_FIGURES = (
    "stream",
    "session",
    "state",
    "reason",
    "score",
    "readable_strain",
    "readable_quality",
    "readable_share",
    "compression",
    "strain_rate",
    "precompression",
    "deadline_ms",
    "mean_quality",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """When an image was received, and what was known then."""

    age: Age
    at_ns: int
    """Monotonic clock when `age` was read."""
    server_starts: int = 1
    """Number of starts of the strain server so far."""
    other_streams: tuple[str, ...] = ()
    """Other streams on the same endpoint."""


class Picture:
    """One picture, made by a `Painter`."""

    def __init__(self, id_: int, fields: Mapping[str, Any], planes: Mapping[str, Plane]) -> None:
        self.id = id_
        self.fields = fields
        self._planes = planes

    @cached_property
    def encoded(self) -> bytes:
        """The picture as a message; encoded once."""
        return pack({"id": self.id, **self.fields}, list(self._planes.values()))

    @cached_property
    def measured(self) -> Measured:
        """The part that regions are measured in; made once for all browsers."""
        return Measured.of(self.fields, self._planes)


class Painter:
    """Makes pictures of consecutive images of one stream."""

    def __init__(self) -> None:
        self._bmode = BMode()
        self._range = StrainRange()
        self._session: tuple[int, int] | None = None
        self._count = 0
        self._last_bmode: tuple[RFFrame, Plane] | None = None

    def paint(self, message: StrainMessage, arrival: Arrival, reference: RFFrame | None) -> Picture:
        """The picture of `message`; `reference`: its reference frame for B-mode, None where it is not known."""
        session = (arrival.server_starts, message.session)
        if session != self._session:
            self._session = session
            self._range.reset()
        planes = {"strain": strain_plane(message.strain), "quality": quality_plane(message.quality)}
        if reference is not None and reference.shape == message.shape:
            planes["bmode"] = self._painted(reference)
        self._count += 1
        return Picture(self._count, self._fields(message, arrival), planes)

    def _painted(self, reference: RFFrame) -> Plane:
        if self._last_bmode is None or self._last_bmode[0] is not reference:
            self._last_bmode = reference, self._bmode.plane(reference)
        return self._last_bmode[1]

    def _fields(self, message: StrainMessage, arrival: Arrival) -> dict[str, Any]:
        down, across = steps(message.shape, MOST_STRAIN)
        soft = self._range.soft_end(
            message.strain[::down, ::across], message.quality[::down, ::across], message.readable_quality
        )
        pitch_mm = message.scan.pitch_mm
        return {
            **{name: getattr(message, name) for name in _FIGURES},
            "warnings": list(message.warnings),
            "persistence": as_fields(message.persistence),
            "ratio": as_fields(message.ratio),
            "reference": message.reference.sequence,
            "current": message.current.sequence,
            "acquired_ms": message.current.acquired_ns / 1e6,
            "born_ms": arrival.at_ns / 1e6 - arrival.age.ms,
            "exact": arrival.age.exact,
            "pitch_mm": pitch_mm,
            "common_sample": common_sample(message.scan),
            "sound_speed_m_s": message.scan.sound_speed_m_s,
            **_places(BeamSpace.of(message.scan, message.shape), (down, across)),
            "least_readable": least_readable(message.readable_quality),
            "soft_strain": soft,
            "range_db": RANGE_DB,
            "server_starts": arrival.server_starts,
            "other_streams": list(arrival.other_streams),
            "counters": as_fields(message.counters),
            "weights": message.weights_hash[:12],
        }


def _places(space: BeamSpace, step: tuple[int, int]) -> dict[str, Any]:
    """Fields that say where pixels lie; `step`: that of the strain plane."""
    (top, _), (left, _) = space.bounds_mm
    fields: dict[str, Any] = {"extent_mm": space.extent_mm, "reach_mm": space.extent_mm}
    if space.radius_mm is None:
        fields["reach_mm"] = tuple(
            k * ((n - 1) // k) * pitch_mm
            for k, n, pitch_mm in zip(step, space.shape, space.step, strict=True)
        )
    else:
        fields["fan"] = {name: getattr(space, name) for name in ("radius_mm", "shape", "first", "step")}
    return fields if (top, left) == (0, 0) else fields | {"origin_mm": (top, left)}
