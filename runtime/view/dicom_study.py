"""DICOM objects of what the page shows: one study a case, in it a series of images and one of films."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from usert import __version__

from ..offline.dicom_identity import identification
from ..offline.dicom_object import Capture, encode_rle, make_object
from .case import Case, Refusal
from .dicom_upload import Header, Upload

LARGEST_BYTES = 256 << 20
"""Largest size of the pictures of one object."""
_SERIES = {
    "image": (1, "Live B-mode and axial strain (usert)"),
    "cine": (2, "Film of live B-mode and axial strain (usert)"),
}


@dataclass(slots=True, kw_only=True)
class Study:
    """The UIDs and numbers of the objects of one case; needs pydicom."""

    case: Case
    """As it was when the study began: one that is given its identifier later begins another, of one patient alone."""
    uid: str = field(default_factory=lambda: new_uid())
    _series: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def make(self, upload: Upload) -> Any:
        """The `pydicom.Dataset` of the pictures of `upload`. Errors: `Refusal`."""
        header, now = upload.header, datetime.now().astimezone()
        frames, size = _encoded(upload)
        number, description = _SERIES[header.kind]
        self._count += 1
        known = upload.acquired_ms
        capture = Capture(
            frames=frames,
            size=size,
            pixel_mm=(1 / header.scale, 1 / header.scale),
            calibration=f"Inside the images; sound speed {header.sound_speed_m_s:g} m/s assumed",
            identity=self._identity,
            instance_uid=new_uid(),
            series_uid=self._series.setdefault(header.kind, new_uid()),
            series={"SeriesNumber": number, "SeriesDescription": description, "Manufacturer": "usert"},
            derivation=_derivation(header),
            multi_frame=header.kind == "cine",
            start=None if known is None else datetime.fromtimestamp(known[0] / 1e3, UTC),
            steps_ms=upload.steps_ms,
            instance={
                "InstanceNumber": self._count,
                "ContentDate": now.strftime("%Y%m%d"),
                "ContentTime": now.strftime("%H%M%S.%f"),
                "TimezoneOffsetFromUTC": now.strftime("%z"),
            },
        )
        return make_object(capture)

    @property
    def _identity(self) -> Mapping[str, str]:
        return identification(None) | {
            "PatientID": self.case.identifier,
            "StudyInstanceUID": self.uid,
            "StudyDate": self.case.began.strftime("%Y%m%d"),
            "StudyTime": self.case.began.strftime("%H%M%S"),
        }


def new_uid() -> str:
    """A new UID: a random UUID under 2.25 (PS3.5, B.2)."""
    from pydicom.uid import generate_uid

    return str(generate_uid(prefix=None))


def _encoded(upload: Upload) -> tuple[list[bytes], tuple[int, int]]:
    """Every picture in RLE, and their rows and columns. Errors: `Refusal`."""
    frames, size, held = [], (0, 0), 0
    for index in range(len(upload.pngs)):
        pixels = upload.pixels(index)
        size = pixels.shape[0], pixels.shape[1]
        frames.append(encode_rle(pixels))
        held += len(frames[-1])
        if held > LARGEST_BYTES:
            line = f"DICOM: {index} of {len(upload.pngs)} pictures fill the {LARGEST_BYTES >> 20} MB of one object"
            raise Refusal("dicom.too_large", line, count=index, all=len(upload.pngs))
    return frames, size


def _derivation(header: Header) -> str:
    return (
        "Screen of the live page: B-mode and axial strain in percent (compression positive), with scales and numbers; "
        f"state {header.state}, stream {header.stream!r}, session {header.session}, frames {header.reference} to "
        f"{header.current}, weights {header.weights or 'unknown'}, usert {__version__}"
    )[:1024]
