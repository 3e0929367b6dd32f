"""Messages with a value in every field, broken ones, and the fault that is found in them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from usert.errors import WireError
from usert.frame import RFFrame, Scan
from usert.runtime.imaging.frames import FrameStamp
from usert.runtime.imaging.persistence import Averaging
from usert.runtime.imaging.strain_ratio import RatioReading, RegionReading
from usert.runtime.protocol.header import MalformedError
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.protocol.strain_message import Counters, StrainMessage

SCAN = Scan(fs_hz=40e6, f0_hz=7.5e6, sound_speed_m_s=1540, line_pitch_mm=0.3)


RATIO = RatioReading(
    refused="",
    target=RegionReading(
        mean_strain=0.01, spread=0.002, error=0.0005, pixels=900, readable_share=1.0, quality=0.9
    ),
    background=RegionReading(
        mean_strain=0.02, spread=0.002, error=0.0005, pixels=800, readable_share=0.75, quality=0.8
    ),
    ratio=0.5,
    spread=0.03125,
    pixel_spread=0.03125,
    frames=2,
    quality=0.8,
)


def rf_message(**changes: Any) -> RFMessage:
    fields: dict[str, Any] = {
        "samples": np.array([[0, 1, -1], [-32768, 32767, 0x1234]], np.int16),
        "scan": SCAN,
        "sequence": 7,
        "time_ns": 123456789,
        "acquired_ns": 1700000000000000000,
    }
    return RFMessage(frame=RFFrame(**(fields | changes)), stream="probe", clock="c1")


def strain_message() -> StrainMessage:
    return StrainMessage(
        stream="probe",
        session=2,
        reference=FrameStamp(sequence=6, time_ns=5, acquired_ns=0),
        current=FrameStamp(sequence=7, time_ns=9, acquired_ns=1),
        source_clock="c1",
        server_clock="c2",
        received_ns=10,
        matched_ns=11,
        started_ns=12,
        published_ns=13,
        state="live",
        scan=SCAN,
        counters=Counters(
            received=8, dropped=1, malformed=3, published=4, lost=2, duplicates=1, missed_deadlines=1
        ),
        weights_hash="abc",
        mean_strain=0.015,
        mean_quality=0.75,
        score=0.5,
        readable_strain=0.02,
        compression=1.0,
        readable_quality=0.7,
        readable_share=0.5,
        evident_strain=0.015,
        precompression=0.25,
        deadline_ms=200.0,
        strain_rate=0.125,
        reason="still",
        warnings=("strain_high",),
        persistence=Averaging(weight=0.5, images=3, past_share=0.25),
        ratio=RATIO,
        displacement=np.array([[[1, 2]], [[-0.5, 0]]], np.float32),
        strain=np.array([[0.01, 0.02]], np.float32),
        quality=np.array([[0.5, 1]], np.float32),
    )


def changed(parts: list[bytes], **fields: Any) -> list[bytes]:
    """`parts` with keys of the header replaced, or left out where the value is None."""
    header = json.loads(parts[0]) | fields
    kept = {key: value for key, value in header.items() if value is not None}
    return [json.dumps(kept).encode(), *parts[1:]]


def fault_of(parts: Any, message: type[RFMessage] | type[StrainMessage] = RFMessage) -> str:
    """The kind of fault for which `parts` are refused, in one short line."""
    with pytest.raises(WireError) as caught:
        message.from_parts(parts)
    assert isinstance(caught.value, MalformedError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return caught.value.fault
