"""Libraries that report their use to their makers over the network, imported so that they do not.

Knows what each does on import; nothing of what it is for. Invariant: nothing is sent, and what the user has set in the
environment stays.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from .errors import require


def import_onnxruntime() -> ModuleType:
    """`onnxruntime`, which since 1.29 keeps a number for the device and reports sessions under it, unless told."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return require("onnxruntime", "cpu")


def import_openvino() -> ModuleType:
    """`openvino`, which reports itself by `openvino_telemetry`, and does without when that is absent."""
    absent = "openvino_telemetry" not in sys.modules
    if absent:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return require("openvino", "openvino")
    finally:
        if absent:
            del sys.modules["openvino_telemetry"]
