"""A DICOM object of a result: Multi-frame True Color Secondary Capture, a page a frame.

Invariant: two runs that make the same pages of the same recording make the same object, with the same UIDs.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from usert.errors import OptionError, require

from .dicom_identity import identification, uid
from .dicom_object import Capture, encode_rle, make_object
from .pages import Pages

LARGEST_BYTES = 1 << 30
"""Largest size of all encoded pages, which are in memory together: about a thousand pages."""


def write_dicom(path: Path, pages: Pages, *, like: str | os.PathLike[str] | None = None) -> None:
    """Write all pages as one DICOM object; `like`: a DICOM file of the same study.

    Errors: `MissingExtraError`; `FormatError` where `like` is not a DICOM file; `OptionError` for too many pages.
    """
    require("pydicom", "dicom")
    identity = identification(like)
    frames, size, digest = _encoded(pages)
    instance = uid("instance", digest, *sorted(pages.attributes.items()), *sorted(identity.items()))
    study = {"StudyInstanceUID": uid("study", pages.attributes["recording_sha256"])}
    start, steps_ms = _times(pages)
    capture = Capture(
        frames=frames,
        size=size,
        pixel_mm=pages.pixel_mm,
        calibration=f"Inside the images; sound speed {pages.scan.sound_speed_m_s:g} m/s assumed",
        identity=study | identity,
        instance_uid=instance,
        series_uid=uid("series", instance),
        series={"SeriesNumber": None, "SeriesDescription": "Axial strain of ultrasound RF (usert)"},
        derivation=_derivation(pages.attributes),
        start=start,
        steps_ms=steps_ms,
        instance={"InstanceNumber": 1},
    )
    make_object(capture).save_as(path, enforce_file_format=True)


def _encoded(pages: Pages) -> tuple[list[bytes], tuple[int, int], str]:
    """Every page in RLE, their rows and columns, and a hash of them all."""
    frames, size, digest, held = [], (0, 0), hashlib.sha256(), 0
    for index, page in enumerate(pages):
        pixels = np.asarray(page)
        size = pixels.shape[0], pixels.shape[1]
        frames.append(encode_rle(pixels))
        digest.update(frames[-1])
        held += len(frames[-1])
        if held > LARGEST_BYTES:
            raise OptionError(
                f"--also dicom: got {len(pages)} pairs, of which {index} fill the {LARGEST_BYTES / 1e9:.2f} GB "
                "that one object may take: choose fewer by --pairs"
            )
    return frames, size, digest.hexdigest()


def _times(pages: Pages) -> tuple[datetime | None, list[float] | None]:
    """When the first page was acquired, and the times in ms between pages; None where unknown."""
    times_ns = pages.acquired_ns
    if times_ns is None or len(times_ns) < 2:
        return None, None
    start = datetime.fromtimestamp(int(times_ns[0]) / 1e9, UTC)
    return start, [float(step) for step in np.diff(times_ns) / 1e6]


def _derivation(made_by: Any) -> str:
    return (
        f"B-mode, axial strain in percent (compression positive) and quality of pairs of RF frames; "
        f"usert {made_by['usert_version']}, method {made_by['method']}, engine {made_by['engine']}, "
        f"recording sha256 {made_by['recording_sha256']}, bundle sha256 {made_by['bundle_sha256'] or 'none'}"
    )
