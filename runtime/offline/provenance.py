"""The origin of a result: its inputs and settings, written into its file and compared when a run is resumed.

Invariant: two results of equal `Origin` hold the same numbers, so neither times nor paths are compared.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from usert import __version__
from usert.errors import RecordingError

NETWORK = "usert"
"""The method that runs a bundle; any other is one of `usert.estimators`."""

_PACKAGES = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu"), "tensorrt": ("tensorrt", "tensorrt-cu13")}
_PLACES = ("recording", "bundle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Attributes of a result's root; empty where nothing applies."""

    recording: str
    """Path of the recording as it was given, for people; it may have moved since."""
    recording_sha256: str
    method: str
    pairs: str
    """The option `--pairs`; the pairs themselves are a dataset."""
    engine: str
    """Library and device of the engine that ran."""
    engine_version: str
    precision: str
    strain_window_samples: int
    strain_window_mm: float
    """Window given by the user; 0: the window of the bundle."""
    bundle: str = ""
    bundle_sha256: str = ""
    weights_sha256: str = ""
    model_card: str = ""

    def difference(self, stored: Mapping[str, Any]) -> str | None:
        """The first difference from the attributes of a result, in words; None if there is none."""
        for name, expected in ({"usert_version": __version__} | asdict(self)).items():
            if name in _PLACES:
                continue
            got = stored.get(name)
            if got is None:
                return f"it does not say its {name}"
            if got != expected:
                return f"{name} is {_short(got)}, now it would be {_short(expected)}"
        return None


def library_version(engine: str) -> str:
    """Version of the library that an engine's name begins with, such as `openvino CPU`; empty if unknown."""
    library = engine.split()[0]
    if library.startswith("usert"):
        return __version__
    for package in _PACKAGES.get(library, (library.replace("_", "-"),)):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return ""


def sha256_of_recording(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of the file's bytes. Errors: `RecordingError`."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RecordingError(f"{os.fspath(path)}: cannot read: {error.strerror}") from error


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text or "none"
