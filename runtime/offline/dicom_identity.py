"""Patient and study of a DICOM object: copied from a DICOM file of the user, or empty."""

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
"""Attributes of types 1 and 2 of the modules Patient and General Study that are copied; empty without a file."""
_TAKEN_IF_THERE = ("IssuerOfPatientID", "StudyDescription")


def identification(like: str | os.PathLike[str] | None) -> dict[str, str]:
    """Attributes by keyword, with `StudyInstanceUID` if `like` is given. Errors: `FormatError`."""
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
    """A UID under 2.25 with a UUID (PS3.5, B.2) that is computed from `parts`."""
    digest = hashlib.sha256("\0".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
