"""TRACKEDFRAME messages, byte by byte after the description in PLUS' source (`igtlPlusTrackedFrameMessage`)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from pyigtl.messages import CRC64

IMAGE_TYPES = {"": 0, "BRIGHTNESS": 1, "RF_REAL": 2, "RF_IQ_LINE": 3, "RF_I_LINE_Q_LINE": 4}
ORIENTATIONS = {"": 0, "UF": 1, "UN": 3, "MF": 5, "MN": 8, "FU": 10, "NU": 11, "FM": 12, "NM": 13}
_SCALARS = {"uint8": 3, "int16": 4, "int32": 6, "float32": 10}


def tracked_frame(
    image: np.ndarray[Any, Any],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    image_type: str = "RF_REAL",
    orientation: str = "FM",
    timestamp: float = 1_700_000_000.25,
    version: int = 1,
) -> bytes:
    """A whole message; `image`: (second, fastest) axis, `spacing`: of the fastest and the second, in mm."""
    rows, columns = image.shape
    xml = f'<TrackedFrame Timestamp="{timestamp}" ImageDataValid="true" />\n'.encode()
    header = struct.pack(
        ">HHH3HIIH",
        *(_SCALARS[str(image.dtype)], 1, IMAGE_TYPES[image_type]),
        *(columns, rows, 1, image.nbytes, len(xml), ORIENTATIONS[orientation]),
    )
    matrix = np.diag([*spacing, 1, 1]).astype("<f4")
    body = header + matrix.tobytes() + xml + image.astype(image.dtype.newbyteorder("<")).tobytes()
    if version == 2:
        metadata = struct.pack(">HHHI", 1, 4, 3, 5), b"Depth50 mm"[:9]
        body = struct.pack(">HHII", 12, len(metadata[0]), len(metadata[1]), 7) + body + b"".join(metadata)
    seconds, fraction = divmod(timestamp, 1)
    stamp = int(seconds), int(fraction * 2**32)
    return struct.pack(">H12s20sIIQQ", version, b"TRACKEDFRAME", b"", *stamp, len(body), CRC64(body)) + body
