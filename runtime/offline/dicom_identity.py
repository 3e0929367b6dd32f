"""Whose study a DICOM object belongs to: taken over from a DICOM file of the user's own, or left empty.

Knows pydicom's names of attributes. Invariant: nothing about a patient is invented, and UIDs follow from what the
object holds, so the same object made twice has the same.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import Any

from usert.errors import FormatError, require

TAKEN_OVER = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""Of types 1 and 2 in the modules Patient and General Study, beside the study's UID; empty without a file."""
_TAKEN_IF_THERE = ("IssuerOfPatientID", "StudyDescription")


def identification(like: str | os.PathLike[str] | None) -> dict[str, str]:
    """Attributes by their keywords; `StudyInstanceUID` is there if `like` is. Errors: `FormatError`."""
    values = dict.fromkeys(TAKEN_OVER, "")
    if like is None:
        return values
    pydicom = require("pydicom", "dicom")
    from pydicom.errors import InvalidDicomError

    try:
        found = pydicom.dcmread(like, stop_before_pixels=True)
        study = str(found.get("StudyInstanceUID", ""))
        present = {name: str(found.get(name) or "") for name in (*TAKEN_OVER, *_TAKEN_IF_THERE)}
    except InvalidDicomError as error:
        raise FormatError(f"--dicom-like: {os.fspath(like)} is not a DICOM file") from error
    except OSError as error:
        raise FormatError(
            f"--dicom-like: cannot read {os.fspath(like)}: {error.strerror or error}"
        ) from error
    if not study:
        raise FormatError(f"--dicom-like: {os.fspath(like)} has no StudyInstanceUID, so it names no study")
    return values | {name: text for name, text in present.items() if text} | {"StudyInstanceUID": study}


def uid(*parts: Any) -> str:
    """A UID under 2.25, whose number is a UUID (PS3.5, B.2) that follows from `parts`."""
    digest = hashlib.sha256("\0".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
