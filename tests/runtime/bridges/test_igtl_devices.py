"""A strain image as OpenIGTLink messages: values, axes, spacing, times, and what must not be read."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from live import SCAN, numbered_frame
from pyigtl.messages import ImageMessage, MessageBase, StringMessage

from usert.beam_space import BeamSpace
from usert.errors import OptionError
from usert.runtime.bridges.igtl_devices import BLANK_PERCENT, Devices, wall_of
from usert.runtime.imaging.frames import FrameStamp
from usert.runtime.protocol.age import Age
from usert.runtime.protocol.strain_message import Counters, StrainMessage

SHAPE = (24, 8)
WALL_S = 1_700_000_000.25


def strain_message(**changes: Any) -> StrainMessage:
    """Each pixel has a strain of its own; quality rises from 0 to 1 with depth."""
    rows, lines = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    stamp = FrameStamp(sequence=7, time_ns=5, acquired_ns=1_700_000_000_250_000_000)
    fields: dict[str, Any] = {
        "stream": "test",
        "session": 1,
        "reference": stamp,
        "current": stamp,
        "source_clock": "",
        "server_clock": "",
        "received_ns": 6,
        "matched_ns": 7,
        "started_ns": 8,
        "published_ns": 9,
        "state": "live",
        "scan": SCAN,
        "counters": Counters(received=2, dropped=0, malformed=0, published=1),
        "weights_hash": "",
        "mean_strain": 0.01,
        "mean_quality": 0.5,
        "readable_quality": 0.7,
        "readable_strain": 0.012,
        "displacement": np.zeros((2, *SHAPE), np.float32),
        "strain": 1e-3 * rows - 1e-4 * lines,
        "quality": rows / (SHAPE[0] - 1),
    }
    return StrainMessage(**(fields | changes))


def unpacked(raw: bytes) -> Any:
    fields = MessageBase.parse_header(raw[: MessageBase.IGTL_HEADER_SIZE])
    message = MessageBase.create_message(fields["message_type"])
    message.unpack(fields, raw[MessageBase.IGTL_HEADER_SIZE :])
    return message


def strain_of(message: StrainMessage, **words: Any) -> np.ndarray[Any, Any]:
    sent = Devices().image(message, state=words.pop("state", "live"), wall_s=WALL_S)
    image: np.ndarray[Any, Any] = unpacked(sent["strain"]).image[0]
    return image


def test_strain_is_percent_line_by_line_along_depth_and_quality_a_number() -> None:
    message = strain_message(readable_quality=0.0)
    sent = Devices().image(message, state="live", wall_s=WALL_S)
    assert list(sent) == ["strain", "quality"]
    strain, quality = (unpacked(sent[name]) for name in ("strain", "quality"))
    assert isinstance(strain, ImageMessage)
    assert (strain.device_name, quality.device_name) == ("usert_strain", "usert_quality")
    assert (strain.image.shape, strain.image.dtype) == ((1, *SHAPE), np.float32)
    np.testing.assert_array_equal(strain.image[0], np.float32(100) * message.strain)
    np.testing.assert_array_equal(quality.image[0], message.quality)


def test_size_spacing_and_axes_are_where_the_standard_has_them() -> None:
    """Read from the bytes: v2 of the IMAGE body, without pyigtl."""
    raw = Devices().image(strain_message(), state="live", wall_s=WALL_S)["strain"]
    version, components, scalar, endian, world, i, j, k, *numbers = struct.unpack(
        ">HBBBBHHH12f6H", raw[58 : 58 + 72]
    )
    assert (version, components, scalar, endian, world) == (1, 1, 10, 2, 1)  # float32, little-endian, RAS
    assert (i, j, k) == (SHAPE[1], SHAPE[0], 1)
    along_i, along_j, along_k, centre = (numbers[3 * n : 3 * n + 3] for n in range(4))
    axial_mm = 1e3 * 1540 / (2 * 40e6)
    assert along_i == pytest.approx([-0.3, 0, 0])  # towards the left
    assert along_j == pytest.approx([0, -axial_mm, 0])  # towards posterior
    assert along_k == pytest.approx([0, 0, 1])
    assert centre == pytest.approx([-0.3 * 7 / 2, -axial_mm * 23 / 2, 0])
    assert numbers[12:] == [0, 0, 0, i, j, k]
    np.testing.assert_allclose(
        unpacked(raw).ijk_to_world_matrix, np.diag([-0.3, -axial_mm, 1, 1]), rtol=1e-6, atol=1e-6
    )


def test_pixels_of_too_little_quality_or_without_a_number_are_blank_and_finite() -> None:
    strain = strain_message().strain.copy()
    strain[-1, :4] = np.nan, np.inf, -np.inf, 3e38  # the last overflows in percent
    quality = strain_message().quality.copy()
    quality[-2, 0] = np.nan
    message = strain_message(strain=strain, quality=quality)
    image = strain_of(message)
    readable = message.quality >= np.float32(0.7)
    readable[-1, :4] = False
    np.testing.assert_array_equal(image == BLANK_PERCENT, ~readable)
    np.testing.assert_array_equal(image[readable], np.float32(100) * strain[readable])
    sent = Devices(blank_percent=0).image(message, state="live", wall_s=WALL_S)
    assert (unpacked(sent["strain"]).image[0][~readable] == 0).all()
    assert unpacked(sent["quality"]).image[0, -2, 0] == 0


@pytest.mark.parametrize(("state", "blank"), [("live", 0), ("held", 0), ("idle", 1), ("stale", 1)])
def test_an_image_that_shows_no_strain_of_now_is_blank(state: str, blank: int) -> None:
    image = strain_of(strain_message(readable_quality=0.0), state=state)
    assert (image == BLANK_PERCENT).mean() == blank


def test_b_mode_is_of_the_frame_that_the_strain_lies_on() -> None:
    frame = numbered_frame(3, SHAPE)
    sent = Devices().image(strain_message(), state="live", wall_s=WALL_S, reference=frame)
    bmode = unpacked(sent["bmode"])
    assert (bmode.device_name, bmode.image.dtype) == ("usert_bmode", np.uint8)
    step = SHAPE[0] // bmode.image.shape[1]
    assert bmode.image.shape[2] == SHAPE[1]
    assert -bmode.ijk_to_world_matrix[1, 1] == pytest.approx(step * SCAN.axial_pitch_mm)
    other = numbered_frame(3, (12, 8))
    assert "bmode" not in Devices().image(strain_message(), state="live", wall_s=WALL_S, reference=other)


def test_a_curved_array_is_laid_out_where_it_lies() -> None:
    """A disc of strain at a known place, in the world's mm; blank beyond the fan and around what may not be read."""
    scan = replace(SCAN, fs_hz=2e6, f0_hz=7e5, radius_mm=50.0, line_angle_deg=0.6, first_depth_mm=2.0)
    shape = (120, 100)
    z, x = BeamSpace.of(scan, shape).place_mm(*np.mgrid[: shape[0], : shape[1]])
    disc = np.hypot(z - 25, x + 12) < 6
    message = strain_message(
        scan=scan,
        strain=np.where(disc, 0.02, 0.01).astype(np.float32),
        quality=np.where(z < 38, 0.9, 0.1).astype(np.float32),
        displacement=np.zeros((2, *shape), np.float32),
    )
    sent = Devices().image(message, state="live", wall_s=WALL_S)
    strain, quality = (unpacked(sent[name]) for name in ("strain", "quality"))
    found = np.argwhere(strain.image[0] > 1.5)
    at = np.column_stack((found[:, ::-1], np.zeros(len(found)), np.ones(len(found))))
    right, anterior, *_ = strain.ijk_to_world_matrix @ at.mean(axis=0)
    assert (-anterior, -right) == pytest.approx((25, -12), abs=0.3)
    pitch = np.abs(np.diag(strain.ijk_to_world_matrix)[:2])
    assert len(found) * pitch.prod() == pytest.approx(36 * np.pi, rel=0.05)
    assert max(strain.image.shape) == 640
    assert np.isfinite(strain.image).all()
    below = strain.ijk_to_world_matrix @ np.array([320, strain.image.shape[1] - 1, 0, 1])
    assert -below[1] > 40, "the last row"
    assert strain.image[0, -2, 320] == BLANK_PERCENT
    assert strain.image[0, 0, 320] == BLANK_PERCENT, "above the array"
    assert quality.image[0, 0, 320] == 0
    assert ((strain.image == BLANK_PERCENT) | (strain.image > 0.99)).all()


def test_the_first_row_may_lie_deeper() -> None:
    sent = Devices().image(
        strain_message(scan=replace(SCAN, first_depth_mm=3.0)), state="live", wall_s=WALL_S
    )
    assert unpacked(sent["strain"]).ijk_to_world_matrix[:3, 3] == pytest.approx([0, -3, 0], abs=1e-5)


def test_the_time_is_that_of_acquisition_else_of_arrival() -> None:
    age = Age(ms=250.0, exact=True)
    sent = Devices().image(strain_message(), state="live", wall_s=WALL_S)
    assert unpacked(sent["strain"]).timestamp == pytest.approx(WALL_S, abs=1e-6)
    assert unpacked(sent["quality"]).timestamp == unpacked(sent["strain"]).timestamp
    assert wall_of(strain_message(), age, WALL_S + 9) == WALL_S
    for acquired_ns in (0, 2**62):  # unknown; more than OpenIGTLink has room for
        unknown = strain_message(current=FrameStamp(sequence=7, time_ns=5, acquired_ns=acquired_ns))
        assert wall_of(unknown, age, WALL_S) == WALL_S - 0.25


def test_the_status_is_json_in_ascii() -> None:
    message = strain_message(reason="quality", warnings=("strain_low",), stream="Gerät")
    sent = Devices("or2").status(message, state="held", age=Age(ms=12.34, exact=False), wall_s=WALL_S)
    status = unpacked(sent["status"])
    assert isinstance(status, StringMessage)
    assert (status.device_name, status.string.isascii()) == ("or2_status", True)
    told = json.loads(status.string)
    assert (told["state"], told["reason"], told["warnings"]) == ("held", "quality", ["strain_low"])
    assert (told["age_ms"], told["age_exact"], told["stream"]) == (12.3, False, "Gerät")
    assert (told["readable_strain_percent"], told["sequence"]) == (1.2, 7)
    nothing = Devices().status(None, state="stale", age=None, wall_s=WALL_S)
    assert json.loads(unpacked(nothing["status"]).string) == {"state": "stale"}


@pytest.mark.parametrize("prefix", ["", "9", "a b", "strain\n", "thirteen-long"])
def test_a_prefix_that_makes_no_device_name_is_refused(prefix: str) -> None:
    with pytest.raises(OptionError, match=r"^--prefix: got .*, expected .* 12 "):
        Devices(prefix)


def test_blank_is_a_number() -> None:
    with pytest.raises(OptionError, match="--blank: got nan"):
        Devices(blank_percent=float("nan"))
    assert len(Devices("twelve-chars").name("quality")) == 20
