"""Planes: what is thinned out, what is rounded, and what of a message is believed."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from usert.errors import WireError
from usert.runtime.view.planes import (
    MOST_STRAIN,
    STRAIN_UNIT,
    Plane,
    least_readable,
    pack,
    quality_plane,
    steps,
    strain_of,
    strain_plane,
    unpack,
)


@pytest.mark.parametrize("shape", [(1, 1), (512, 128), (513, 256), (1920, 768), (32768, 512)])
def test_planes_fit_a_screen_and_keep_samples_at_their_places(shape: tuple[int, int]) -> None:
    down, across = steps(shape, MOST_STRAIN)
    rows = np.arange(shape[0])[:, None] * 1e-6 + np.zeros(shape[1])
    plane = strain_plane(rows)
    assert plane.step == (down, across)
    assert plane.values.shape[0] <= MOST_STRAIN[0]
    assert plane.values.shape[1] <= MOST_STRAIN[1]
    expected = np.clip(rows[::down, ::across], None, 32767 * STRAIN_UNIT)
    np.testing.assert_allclose(strain_of(plane), expected, atol=0.51 * STRAIN_UNIT)


def test_strain_keeps_sign_unknown_and_limits() -> None:
    strain = np.array([[0.0123, -0.0123, np.nan, np.inf, 1.0, -1.0]])
    back = strain_of(strain_plane(strain))[0]
    np.testing.assert_allclose(back[:2], [0.0123, -0.0123], atol=1e-7)
    assert np.isnan(back[2:4]).all()
    np.testing.assert_allclose(back[4:], [0.32767, -0.32767], atol=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.7, 0.999, 1.0])
def test_no_pixel_passes_that_must_not_be_read(threshold: float) -> None:
    quality = np.append(np.linspace(0, 1, 2001), [threshold, np.nextafter(threshold, 0), np.nan])[None]
    passes = quality_plane(quality).values[0] >= least_readable(threshold)
    kept = quality[0, :: steps(quality.shape, MOST_STRAIN)[1]]
    assert (kept[passes & np.isfinite(kept)] >= threshold).all()
    assert passes.any() or threshold == 1


def test_what_is_packed_is_unpacked_and_a_plane_may_be_cut_off() -> None:
    strain, quality = strain_plane(np.full((5, 3), 0.01)), quality_plane(np.full((5, 3), 0.9))
    last = Plane(name="bmode", values=np.full((7, 9), 4, np.uint8), step=(2, 1))
    message = pack({"id": 7, "state": "live"}, [strain, quality, last])
    fields, planes = unpack(message, ["strain", "quality", "bmode"])
    assert fields["id"] == 7
    for plane in (strain, quality, last):
        np.testing.assert_array_equal(planes[plane.name].values, plane.values)
        assert planes[plane.name].step == plane.step
    assert {entry["offset"] % 8 for entry in fields["planes"]} == {0}
    cut = message[: len(message) - 64]
    unpack(cut, ["strain", "quality"])
    with pytest.raises(WireError, match="header"):
        unpack(cut, ["bmode"])


def _message(**changes: object) -> bytes:
    entry = {"name": "strain", "dtype": "int16", "shape": [2, 2], "step": [1, 1], "offset": 0} | changes
    header = json.dumps({"planes": [entry]}).encode()
    return b"usv1" + struct.pack("<I", len(header)) + header + bytes(64)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"usv1",
        b"usv2" + bytes(20),
        b"usv1" + struct.pack("<I", 0),
        b"usv1" + struct.pack("<I", 1 << 31) + bytes(8),
        b"usv1" + struct.pack("<I", 8) + b"[[[[[[[[",
        _message(shape=[1 << 20, 1 << 20]),
        _message(shape=[-1, 2]),
        _message(shape=[2.5, 2]),
        _message(shape=[True, 2]),
        _message(shape=[2]),
        _message(shape=[600, 2]),
        _message(step=[0, 1]),
        _message(offset=-8),
        _message(offset=1 << 40),
        _message(dtype="object"),
        _message(name="other"),
    ],
)
def test_what_makes_no_sense_is_one_error(message: bytes) -> None:
    with pytest.raises(WireError):
        unpack(message, ["strain"])
