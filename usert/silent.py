"""Imports of libraries that report their use to their makers over the network, with those reports switched off.

Invariant: nothing is sent, and what the user has set in the environment stays.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from .errors import require


def import_onnxruntime() -> ModuleType:
    """Import `onnxruntime`, whose telemetry (since 1.29) is off unless the environment sets `ORT_DISABLE_TELEMETRY`.

    Errors: `MissingExtraError`.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return require("onnxruntime", "cpu")


def import_openvino() -> ModuleType:
    """Import `openvino` without `openvino_telemetry`, by which it would report itself. Errors: `MissingExtraError`."""
    absent = "openvino_telemetry" not in sys.modules
    if absent:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return require("openvino", "openvino")
    finally:
        if absent:
            del sys.modules["openvino_telemetry"]
