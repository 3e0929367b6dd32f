"""Samples that a program writes column by column come out as if it had written them row by row."""

from __future__ import annotations

import json

import numpy as np
import pytest

from usert.frame import RFFrame, Scan
from usert.runtime.bridges.column_order import read_message
from usert.runtime.protocol.header import MalformedError
from usert.runtime.protocol.rf_message import RFMessage

RF = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.2)
IQ = Scan(fs_hz=10e6, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.2, demodulation_hz=6e6)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (64, 5), (200, 33)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("scan", [RF, IQ], ids=["rf", "iq"])
def test_columns_become_rows(scan: Scan, dtype: type, shape: tuple[int, int]) -> None:
    whole = shape if scan.kind == "rf" else (*shape, 2)
    samples = np.random.default_rng(0).integers(-1000, 1000, whole).astype(dtype)
    message = RFMessage(frame=RFFrame(samples=samples, scan=scan, sequence=3), stream="s", clock="c")
    header, in_rows = message.to_parts()
    in_columns = np.ascontiguousarray(samples.swapaxes(0, 1)).tobytes()
    for order, body in ((None, in_rows), ("rows", in_rows), ("columns", in_columns)):
        fields = json.loads(bytes(header)) | ({} if order is None else {"order": order})
        got = read_message(json.dumps(fields).encode(), body)
        np.testing.assert_array_equal(got.frame.samples, samples)
        assert got.frame.samples.dtype == dtype
        assert (got.stream, got.clock, got.frame.sequence, got.frame.scan) == ("s", "c", 3, scan)


def test_columns_are_for_bridges_alone() -> None:
    """Whoever reads the message itself, such as a server, would take columns for rows without a sign."""
    header, body = RFMessage(
        frame=RFFrame(samples=np.zeros((4, 4), np.int16), scan=RF), stream="s"
    ).to_parts()
    fields = json.loads(bytes(header))
    RFMessage.from_parts((json.dumps(fields | {"order": "rows"}).encode(), body))
    with pytest.raises(MalformedError, match=r"header: order: got 'columns', expected 'rows'"):
        RFMessage.from_parts((json.dumps(fields | {"order": "columns"}).encode(), body))


@pytest.mark.parametrize("order", ["lines", 1, None, ["rows"]])
def test_another_order_is_malformed(order: object) -> None:
    message = RFMessage(frame=RFFrame(samples=np.zeros((4, 4), np.int16), scan=RF), stream="s")
    header, body = message.to_parts()
    fields = json.loads(bytes(header)) | {"order": order}
    with pytest.raises(
        MalformedError, match=r"header: order: got .*, expected 'rows' or 'columns'"
    ) as caught:
        read_message(json.dumps(fields).encode(), body)
    assert caught.value.fault == "field"
