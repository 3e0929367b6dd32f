"""A strain image as OpenIGTLink messages, one device each.

Axes of an IMAGE: i counts scan lines, j samples along depth, k is the one slice; a curved array is laid out first.
The world is RAS with i towards the left and j towards posterior, so that an axial view shows the image upright, first
line on its left; its origin is at depth 0 on the first line, or on the centre line. Invariant: a pixel of strain that
may not be read, and every pixel of an image that is neither `live` nor `held`, is `blank`, which is finite.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.beam_space import BeamSpace
from usert.errors import OptionError, expect
from usert.frame import RFFrame

from ..imaging.live_or_held import State
from ..offline.canvas import Canvas
from ..protocol.age import Age, clock_id
from ..protocol.strain_message import StrainMessage
from ..view.bmode import BMode
from .igtl_library import require_pyigtl

NAMES = ("strain", "quality", "bmode", "status")
BLANK_PERCENT = -100.0
"""Outside the range of any tissue: a threshold hides it, and an average over it is visibly wrong. Not NaN, on which 3D
Slicer has crashed (Slicer/Slicer issues 4907 and 7737), and not 0, which is the strain of hard tissue."""
SLICE_MM = 1.0
"""Nominal thickness of the one slice: OpenIGTLink needs a number above 0."""
_LONGEST_PX = 640
"""Of a curved array that is laid out."""
_MOST_S = 1 << 32
"""The header of OpenIGTLink has 32 bits for seconds."""
_MOST_NAME = 20
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_READABLE: tuple[State, ...] = ("live", "held")

Packed = dict[str, bytes]
"""Whole OpenIGTLink messages, by device, in the order they are sent."""


class Devices:
    """Makes the messages of consecutive images of one stream."""

    def __init__(self, prefix: str = "usert", *, blank_percent: float = BLANK_PERCENT) -> None:
        """Errors: `OptionError`; `MissingExtraError` without pyigtl."""
        require_pyigtl()
        longest = max(map(len, NAMES)) + 1
        if not _PREFIX.fullmatch(prefix) or len(prefix) + longest > _MOST_NAME:
            raise OptionError(
                f"--prefix: got {prefix!r}, expected a letter, then letters, digits, '_' or '-', "
                f"{_MOST_NAME - longest} in all at most"
            )
        expect(math.isfinite(blank_percent), "--blank", blank_percent, "a finite number of percent")
        self._prefix = prefix
        self._blank = np.float32(blank_percent)
        self._bmode = BMode()

    def name(self, device: str) -> str:
        """The full name of a device, such as `usert_strain`."""
        return f"{self._prefix}_{device}"

    def image(
        self, message: StrainMessage, *, state: State, wall_s: float, reference: RFFrame | None = None
    ) -> Packed:
        """Strain, quality, and B-mode of the reference frame `reference` if it is given.

        `state`: that of the image by now, which may have become `stale`. `wall_s`: when it was acquired.
        """
        space = BeamSpace.of(message.scan, message.shape)
        quality = np.nan_to_num(message.quality, posinf=0.0, neginf=0.0)
        packed = {
            "strain": self._packed("strain", self._strain(message, state), space, wall_s, self._blank),
            "quality": self._packed("quality", quality, space, wall_s),
        }
        if reference is not None and reference.shape == message.shape:
            plane = self._bmode.plane(reference)
            packed["bmode"] = self._packed("bmode", plane.values, space.every(plane.step), wall_s)
        return packed

    def status(
        self,
        message: StrainMessage | None,
        *,
        state: State,
        age: Age | None,
        wall_s: float,
        read_ns: int = 0,
    ) -> Packed:
        """The status message: state and figures of the newest image, as JSON.

        `read_ns`: when `age` was read, by the monotonic clock of this machine, which the status names beside it.
        """
        from pyigtl.messages import StringMessage

        fields: dict[str, Any] = {"state": state}
        if message is not None and age is not None:
            fields |= {
                "reason": message.reason,
                "warnings": list(message.warnings),
                "age_ms": round(age.ms, 1),
                "age_exact": age.exact,
                "age_clock": clock_id(),
                "age_read_ns": read_ns,
                "readable_strain_percent": round(100 * message.readable_strain, 4),
                "mean_quality": round(message.mean_quality, 4),
                "readable_quality": message.readable_quality,
                "readable_share": round(message.readable_share, 4),
                "stream": message.stream,
                "sequence": message.current.sequence,
            }
        text = json.dumps(fields)  # ASCII, or pyigtl cannot encode it
        return {"status": StringMessage(text, timestamp=wall_s, device_name=self.name("status")).pack()}

    def _strain(self, message: StrainMessage, state: State) -> NDArray[np.float32]:
        """In percent, NaN where it must not be read."""
        if state not in _READABLE:
            return np.full(message.shape, np.float32(np.nan))
        with np.errstate(over="ignore"):
            percent = np.float32(100) * message.strain
        readable = (message.quality >= message.readable_quality) & np.isfinite(percent)
        return np.where(readable, percent, np.float32(np.nan))

    def _packed(
        self, device: str, values: NDArray[Any], space: BeamSpace, wall_s: float, blank: Any = 0
    ) -> bytes:
        from pyigtl.messages import ImageMessage

        pixels, pitch_mm, first_mm = values, space.step, space.first
        if space.radius_mm is not None:
            canvas = Canvas(space=space, longest_px=_LONGEST_PX)
            pixels, pitch_mm = canvas.resampled(values), canvas.pixel_mm
            (top, _), (left, _) = space.bounds_mm
            first_mm = top + pitch_mm[0] / 2, left + pitch_mm[1] / 2
        packed: bytes = ImageMessage(
            np.where(np.isnan(pixels), blank, pixels).astype(values.dtype)[np.newaxis],
            ijk_to_world_matrix=matrix(pitch_mm, first_mm),
            world_coordinate_system="ras",
            timestamp=wall_s,
            device_name=self.name(device),
        ).pack()
        return packed


def matrix(pitch_mm: tuple[float, float], first_mm: tuple[float, float]) -> NDArray[np.float64]:
    """The 4 x 4 matrix from (i, j, k, 1) to the world, RAS, in mm; `first_mm`: depth and place of the first pixel."""
    placed = np.diag([-pitch_mm[1], -pitch_mm[0], SLICE_MM, 1.0])
    placed[:2, 3] = 0.0 - first_mm[1], 0.0 - first_mm[0]
    return placed


def wall_of(message: StrainMessage, age: Age, now_s: float) -> float:
    """Unix time of the current frame, by the source or, where that is unknown, by its arrival.

    `now_s`: Unix time at which `age` was read.
    """
    acquired_s = message.current.acquired_ns / 10**9
    return acquired_s if 0 < acquired_s < _MOST_S else max(0.0, now_s - age.ms / 1e3)
