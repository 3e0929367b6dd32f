"""The plain function from two arrays to an estimate: what it refuses, in one line each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import usert
from usert.errors import UsertError
from usert.frame import Scan

SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.2)
NOISE = np.random.default_rng(0).integers(-999, 999, (256, 64)).astype(np.int16)
SPOILT = np.where(np.arange(256)[:, None] == 3, np.nan, NOISE)


@pytest.mark.parametrize(
    ("current", "options", "told"),
    [
        (SPOILT, {}, "NaN"),
        (NOISE[:, :32], {}, r"\(256, 32\)"),
        (0 * NOISE, {}, "all samples are the same"),
        (NOISE + 1j * NOISE, {}, "complex128"),
        (NOISE, {"engine": "nope"}, "'nope'"),
        (NOISE, {"engine": "torch"}, "usert run --engine torch"),
        (NOISE, {"bundle": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_is_refused_is_named(current: Any, options: dict[str, str], told: str) -> None:
    with pytest.raises(UsertError, match=told) as caught:
        usert.estimate(NOISE, current, SCAN, **({"engine": "onnxruntime"} | options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
