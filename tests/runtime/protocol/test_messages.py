"""The protocol, held by golden bytes, and what it refuses."""

from __future__ import annotations

import json
import random
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from messages import RATIO, SCAN, changed, fault_of, rf_message, strain_message

from usert.runtime.imaging.frames import FrameStamp
from usert.runtime.imaging.strain_ratio import RatioReading
from usert.runtime.protocol.header import MAX_HEADER_BYTES, MAX_PARTS, MalformedError, as_fields
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.protocol.strain_message import Counters, StrainMessage

GOLDEN_RF = [
    b'{"usert":1,"kind":"rf","stream":"probe","sequence":7,"time_ns":123456789,'
    b'"acquired_ns":1700000000000000000,"clock":"c1","dtype":"int16","shape":[2,3],"byte_order":"little",'
    b'"fs_hz":40000000.0,"f0_hz":7500000.0,"sound_speed_m_s":1540.0,"line_pitch_mm":0.3}',
    bytes.fromhex("0000 0100 ffff 0080 ff7f 3412"),
]
GOLDEN_STRAIN = [
    b'{"usert":1,"kind":"strain","stream":"probe","session":2,'
    b'"reference":{"sequence":6,"time_ns":5,"acquired_ns":0},'
    b'"current":{"sequence":7,"time_ns":9,"acquired_ns":1},'
    b'"source_clock":"c1","server_clock":"c2","received_ns":10,"matched_ns":11,"started_ns":12,'
    b'"published_ns":13,"state":"live","sign":"compression positive",'
    b'"fs_hz":40000000.0,"f0_hz":7500000.0,"sound_speed_m_s":1540.0,"line_pitch_mm":0.3,'
    b'"counters":{"received":8,"dropped":1,"malformed":3,"published":4,"lost":2,"duplicates":1,"late":0,'
    b'"failed":0,"missed_deadlines":1},"weights_hash":"abc",'
    b'"mean_strain":0.015,"mean_quality":0.75,"score":0.5,"readable_strain":0.02,"compression":1.0,'
    b'"readable_quality":0.7,"readable_share":0.5,"evident_strain":0.015,"precompression":0.25,'
    b'"deadline_ms":200.0,"strain_rate":0.125,"reason":"still","warnings":["strain_high"],'
    b'"persistence":{"weight":0.5,"images":3,"past_share":0.25},'
    b'"ratio":{"refused":"","target":{"mean_strain":0.01,"spread":0.002,"error":0.0005,"pixels":900,'
    b'"readable_share":1.0,"quality":0.9},"background":{"mean_strain":0.02,"spread":0.002,"error":0.0005,'
    b'"pixels":800,"readable_share":0.75,"quality":0.8},"ratio":0.5,"spread":0.03125,"pixel_spread":0.03125,'
    b'"frame_spread":null,"frames":2,"quality":0.8},"byte_order":"little","arrays":['
    b'{"name":"displacement","dtype":"float32","shape":[2,1,2]},'
    b'{"name":"strain","dtype":"float32","shape":[1,2]},'
    b'{"name":"quality","dtype":"float32","shape":[1,2]}]}',
    bytes.fromhex("0000803f 00000040 000000bf 00000000"),
    bytes.fromhex("0ad7233c 0ad7a33c"),
    bytes.fromhex("0000003f 0000803f"),
]


def test_rf_is_the_golden_bytes() -> None:
    assert [bytes(part) for part in rf_message().to_parts()] == GOLDEN_RF


def test_rf_is_read_back_whole() -> None:
    message = RFMessage.from_parts(GOLDEN_RF)
    expected = rf_message()
    np.testing.assert_array_equal(message.frame.samples, expected.frame.samples, strict=True)
    assert (message.stream, message.clock) == ("probe", "c1")
    assert message.frame.scan == SCAN
    assert FrameStamp.of(message.frame) == FrameStamp.of(expected.frame)


def test_rf_float32_and_foreign_layouts_are_sent_row_after_row() -> None:
    samples = np.arange(6, dtype=">f4").reshape(2, 3).T
    message = RFMessage.from_parts(rf_message(samples=samples.astype(np.float32)).to_parts())
    np.testing.assert_array_equal(message.frame.samples, samples)
    assert message.frame.samples.dtype == np.float32


def test_reading_copies_nothing() -> None:
    buffer = bytearray(GOLDEN_RF[1])
    message = RFMessage.from_parts([GOLDEN_RF[0], memoryview(buffer)])
    buffer[0] = 5
    assert message.frame.samples[0, 0] == 5


def test_strain_is_the_golden_bytes() -> None:
    assert [bytes(part) for part in strain_message().to_parts()] == GOLDEN_STRAIN


def test_strain_is_read_back_whole() -> None:
    message, expected = StrainMessage.from_parts(GOLDEN_STRAIN), strain_message()
    for field in fields(StrainMessage):
        np.testing.assert_equal(getattr(message, field.name), getattr(expected, field.name))


def test_keys_and_arrays_of_a_newer_server_are_ignored() -> None:
    header = json.loads(GOLDEN_STRAIN[0])
    header["arrays"].insert(0, {"name": "mask", "dtype": 8, "packed": True})
    parts = [json.dumps(header | {"new": {"a": 1}}).encode(), b"\1\0", *GOLDEN_STRAIN[1:]]
    np.testing.assert_array_equal(StrainMessage.from_parts(parts).strain, strain_message().strain)


def test_an_older_server_leaves_out_what_came_later() -> None:
    header = json.loads(GOLDEN_STRAIN[0])
    later = (
        "score",
        "compression",
        "deadline_ms",
        "strain_rate",
        "reason",
        "warnings",
        "persistence",
        "ratio",
    )
    old = changed(
        GOLDEN_STRAIN,
        **dict.fromkeys(later),
        counters={key: header["counters"][key] for key in ("received", "dropped", "malformed", "published")},
    )
    message = StrainMessage.from_parts(old)
    assert (message.score, message.reason, message.warnings) == (0.0, "", ())
    assert (message.strain_rate, message.persistence, message.ratio) == (None, None, None)
    assert message.counters == Counters(received=8, dropped=1, malformed=3, published=4)


def test_a_ratio_that_was_refused_is_read_back_with_its_reason() -> None:
    refused = RatioReading(refused="background", target=RATIO.target, background=RATIO.background)
    parts = changed(GOLDEN_STRAIN, ratio=as_fields(refused))
    assert StrainMessage.from_parts(parts).ratio == refused


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("parts", []),
        ("parts", GOLDEN_RF[:1]),
        ("parts", [*GOLDEN_RF, b""]),
        ("parts", [b"{}"] * (MAX_PARTS + 1)),
        ("header", [b"", b""]),
        ("header", [b"{", b""]),
        ("header", [b"\xff\xfe", b""]),
        ("header", [b"[1]", b""]),
        ("header", [b"[" * MAX_HEADER_BYTES, b""]),
        ("header", [b" " * (MAX_HEADER_BYTES + 1), b""]),
        ("header", [b'{"usert":1,"kind":"rf","x":NaN}', b""]),
        ("header", [b'{"usert":' + b"9" * 5000 + b"}", b""]),
        ("version", [b"{}", b""]),
        ("version", changed(GOLDEN_RF, usert=2)),
        ("version", changed(GOLDEN_RF, usert=True)),
        ("version", changed(GOLDEN_RF, usert="1")),
        ("kind", changed(GOLDEN_RF, kind="strain")),
        ("kind", changed(GOLDEN_RF, kind=["rf"])),
        ("field", changed(GOLDEN_RF, stream=None)),
        ("field", changed(GOLDEN_RF, stream=3)),
        ("field", changed(GOLDEN_RF, stream="x" * 257)),
        ("field", changed(GOLDEN_RF, sequence=-1)),
        ("field", changed(GOLDEN_RF, sequence=1.0)),
        ("field", changed(GOLDEN_RF, sequence=1 << 63)),
        ("field", changed(GOLDEN_RF, time_ns=True)),
        ("field", changed(GOLDEN_RF, dtype="object")),
        ("field", changed(GOLDEN_RF, dtype="float64")),
        ("field", changed(GOLDEN_RF, byte_order="big")),
        ("field", changed(GOLDEN_RF, fs_hz="40e6")),
        ("field", [GOLDEN_RF[0].replace(b"40000000.0", b"1e999"), GOLDEN_RF[1]]),
        ("field", [GOLDEN_RF[0].replace(b"40000000.0", b"9" * 400), GOLDEN_RF[1]]),
        ("geometry", changed(GOLDEN_RF, fs_hz=-1)),
        ("geometry", changed(GOLDEN_RF, f0_hz=39e6)),
        ("geometry", changed(GOLDEN_RF, line_pitch_mm=0)),
        ("geometry", changed(GOLDEN_RF, fs_hz=40.0, f0_hz=7.5)),
        ("geometry", changed(GOLDEN_RF, sound_speed_m_s=1.54)),
        ("size", changed(GOLDEN_RF, shape=[2, 4])),
        ("size", changed(GOLDEN_RF, shape=[6])),
        ("size", changed(GOLDEN_RF, shape=[1, 2, 3])),
        ("size", changed(GOLDEN_RF, shape=[-2, -3])),
        ("size", changed(GOLDEN_RF, shape=[0, 3])),
        ("size", changed(GOLDEN_RF, shape="23")),
        ("size", changed(GOLDEN_RF, shape=[2.0, 3])),
        ("size", changed(GOLDEN_RF, shape=[1 << 40, 1 << 40])),
        ("size", changed(GOLDEN_RF, shape=[32768, 4096])),
        ("size", [GOLDEN_RF[0], GOLDEN_RF[1][:-1]]),
        ("size", [GOLDEN_RF[0], GOLDEN_RF[1] + b"\0"]),
    ],
)
def test_broken_rf_is_refused_by_kind_of_fault(fault: str, parts: list[bytes]) -> None:
    assert fault_of(parts) == fault


def test_broken_strain_is_refused() -> None:
    def arrays(*entries: dict[str, Any]) -> list[bytes]:
        return changed(GOLDEN_STRAIN, arrays=list(entries))

    displacement, strain, quality = json.loads(GOLDEN_STRAIN[0])["arrays"]
    for fault, parts in (
        ("parts", GOLDEN_STRAIN[:-1]),
        ("kind", GOLDEN_RF),
        ("field", changed(GOLDEN_STRAIN, sign="tension positive")),
        ("field", changed(GOLDEN_STRAIN, state="fresh")),
        ("field", changed(GOLDEN_STRAIN, score=1e301)),
        ("field", changed(GOLDEN_STRAIN, warnings=["two\nlines"])),
        ("field", changed(GOLDEN_STRAIN, persistence={"weight": 0.5, "images": -1, "past_share": 0})),
        ("field", changed(GOLDEN_STRAIN, ratio={"refused": "tired"})),
        ("field", changed(GOLDEN_STRAIN, counters={"received": 1})),
        ("field", changed(GOLDEN_STRAIN, reference=[])),
        ("field", changed(GOLDEN_STRAIN, arrays={})),
        ("field", changed(GOLDEN_STRAIN, arrays=[1, 2, 3])),
        ("field", arrays(displacement, strain, strain)),
        ("field", arrays(displacement, strain, quality | {"dtype": "float64"})),
        ("size", arrays(displacement, strain, quality | {"shape": [2, 1]})),
        ("size", arrays(displacement | {"shape": [3, 1, 2]}, strain, quality)),
        ("size", arrays(displacement, strain | {"shape": [1, 3]}, quality)),
    ):
        assert fault_of(parts, StrainMessage) == fault, parts[0]


def test_every_truncation_and_every_flipped_byte_is_refused_or_read() -> None:
    for parts, message in ((GOLDEN_RF, RFMessage), (GOLDEN_STRAIN, StrainMessage)):
        for place in range(len(parts[0])):
            for header in (parts[0][:place], parts[0][:place] + b"\x9c" + parts[0][place + 1 :]):
                fault_of([header, *parts[1:]], message)


def test_shapes_that_disagree_are_a_programmers_mistake() -> None:
    message = strain_message()
    with pytest.raises(ValueError, match=r"\(2, N, M\)"):
        replace(message, strain=np.zeros((2, 2), np.float32))


def test_the_specification_shows_the_golden_bytes() -> None:
    page = Path(__file__).parents[3].joinpath("docs", "protocol.md").read_text(encoding="utf-8")
    shown = page.replace("\n", "")
    for golden in (GOLDEN_RF, GOLDEN_STRAIN):
        assert golden[0].decode() in shown
        for buffer in golden[1:]:
            assert buffer.hex(" ") in page


def test_mutated_headers_are_refused_by_kind_of_fault_or_read() -> None:
    """Whatever a header holds, nothing but a `MalformedError` comes out."""
    rng = random.Random(0)
    strange = [
        None,
        True,
        -1,
        0,
        1.5,
        1e308,
        10**30,
        "x",
        [],
        {},
        [1, 2],
        "\ud800",
        "y" * 300,
        {"sequence": 1},
    ]
    refused = 0
    for _ in range(4000):
        parts, message = rng.choice(((GOLDEN_RF, RFMessage), (GOLDEN_STRAIN, StrainMessage)))
        header = json.loads(parts[0])
        place = header
        while isinstance(inner := place[key := rng.choice(list(place))], dict) and rng.random() < 0.5:
            place = inner
        place[key] = rng.choice(strange)
        try:
            message.from_parts([json.dumps(header).encode(), *parts[1:]])
        except MalformedError:
            refused += 1
    assert 2000 < refused < 4000


@pytest.mark.parametrize(
    ("parts", "hint"),
    [
        ([b"rf", b"{}", b""], r"got b'rf', expected JSON: .*; is it a topic\? There are none$"),
        ([b"{", b""], r"expected JSON: [^;]*$"),
        ([b"{" + bytes(MAX_HEADER_BYTES)], "bytes, is it one part with the samples\\?$"),
        ([b"{" + bytes(MAX_HEADER_BYTES), b""], "more than 16384 bytes$"),
    ],
)
def test_a_header_that_is_none_hints_at_how_it_was_sent(parts: list[bytes], hint: str) -> None:
    with pytest.raises(MalformedError, match=hint):
        RFMessage.from_parts(parts)


@pytest.mark.parametrize("depth", [10, 500, 900, 980, 990, 995, 1000, 5000])
def test_a_header_nested_deeply_is_malformed_whatever_key_it_is_in(depth: int) -> None:
    header, samples = rf_message().to_parts()
    fields_of = json.loads(bytes(header))
    for key in ("demodulation_hz", "shape", "usert", "kind", "unknown"):
        nested = json.dumps(fields_of | {key: "@"}).replace('"@"', "[" * depth + "]" * depth).encode()
        with pytest.raises(MalformedError) as refused:
            RFMessage.from_parts([nested, bytes(samples)])
        assert refused.value.fault == "header"
        assert len(str(refused.value)) < 500
