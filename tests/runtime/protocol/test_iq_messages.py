"""Frames of IQ on the wire, held by golden bytes, and what the protocol refuses of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from messages import SCAN, changed, fault_of, rf_message, strain_message

from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.protocol.strain_message import StrainMessage

GOLDEN_IQ = [
    b'{"usert":1,"kind":"rf","stream":"probe","sequence":7,"time_ns":123456789,'
    b'"acquired_ns":1700000000000000000,"clock":"c1","dtype":"int16","shape":[1,3,2],"byte_order":"little",'
    b'"fs_hz":10000000.0,"f0_hz":7500000.0,"sound_speed_m_s":1540.0,"line_pitch_mm":0.3,'
    b'"demodulation_hz":7000000.0}',
    bytes.fromhex("0000 0100 ffff 0080 ff7f 3412"),
]


def iq_message(**changes: Any) -> RFMessage:
    scan = replace(SCAN, **({"fs_hz": 10e6, "demodulation_hz": 7e6} | changes))
    samples = np.array([[[0, 1], [-1, -32768], [32767, 4660]]], np.int16)
    message = rf_message()
    return replace(message, frame=replace(message.frame, samples=samples, scan=scan))


def test_iq_is_the_golden_bytes_and_is_read_back() -> None:
    assert [bytes(part) for part in iq_message().to_parts()] == GOLDEN_IQ
    frame = RFMessage.from_parts(GOLDEN_IQ).frame
    np.testing.assert_array_equal(frame.samples, iq_message().frame.samples, strict=True)
    assert (frame.scan, frame.shape) == (iq_message().frame.scan, (1, 3))


def test_a_demodulation_by_depth_and_a_curved_array_are_read_back() -> None:
    told = iq_message(
        demodulation_hz=((0.0, 7.5e6), (100.0, 6.5e6)), radius_mm=60.0, line_angle_deg=0.4, first_depth_mm=2.5
    )
    assert RFMessage.from_parts(told.to_parts()).frame.scan == told.frame.scan
    strain = replace(strain_message(), scan=told.frame.scan)
    assert StrainMessage.from_parts(strain.to_parts()).scan == told.frame.scan


def test_a_frame_is_cut_along_depth_whatever_its_kind() -> None:
    samples = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    whole = replace(iq_message(), frame=replace(iq_message().frame, samples=samples))
    assert np.array_equal(whole.cut((1, 3)).frame.samples, samples[1:3])


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"demodulation_hz": None}, "size"),
        ({"demodulation_hz": "7e6"}, "field"),
        ({"demodulation_hz": [[0, 7e6, 1]]}, "field"),
        ({"demodulation_hz": []}, "geometry"),
        ({"demodulation_hz": [[0, 7e6]] * 2}, "geometry"),
        ({"demodulation_hz": 7.0}, "geometry"),
        ({"shape": [1, 3]}, "size"),
        ({"shape": [1, 3, 3]}, "size"),
        ({"shape": [3, 2, 1]}, "size"),
        ({"radius_mm": 60.0}, "geometry"),
        ({"first_depth_mm": -1.0}, "geometry"),
    ],
)
def test_iq_that_contradicts_itself_is_refused(fields: dict[str, Any], fault: str) -> None:
    parts = changed(GOLDEN_IQ, **fields)
    if fields == {"demodulation_hz": None}:
        parts = changed(parts, fs_hz=40e6)  # as RF the geometry is plausible, the shape is not
    assert fault_of(parts) == fault
