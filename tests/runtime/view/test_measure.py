"""Strain ratios of pictures: the same as of the image that they were made of, whatever was thinned out."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from publishing import image
from show import Act

from usert.beam_space import BeamSpace
from usert.errors import OptionError, UsertError, WireError
from usert.frame import Scan
from usert.runtime.imaging.strain_ratio import RatioMeter, RatioReading, RatioRule, Rectangle
from usert.runtime.protocol.age import Age
from usert.runtime.view.measure import Measured, Ruler, measure
from usert.runtime.view.picture import Arrival, Painter, Picture

SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.12)
ARRIVAL = Arrival(age=Age(ms=10, exact=True), at_ns=10**12)


def picture(strain: NDArray[Any], quality: NDArray[Any] | float = 1.0, **changes: Any) -> Picture:
    shape = strain.shape
    grids = {
        "strain": strain.astype(np.float32),
        "quality": np.broadcast_to(quality, shape).astype(np.float32),
        "displacement": np.zeros((2, *shape), np.float32),
    }
    message = replace(image(), **{"scan": SCAN} | changes, readable_quality=0.7, **grids)
    return Painter().paint(message, ARRIVAL, None)


def halves(shape: tuple[int, int], left: float, right: float) -> NDArray[np.float64]:
    strain = np.full(shape, right)
    strain[:, : shape[1] // 2] = left
    return strain + np.random.default_rng(1).normal(0, 2e-4, shape)


def ask(target: str, background: str, pictures: Sequence[Picture | bytes]) -> RatioReading | None:
    bodies = [one if isinstance(one, bytes) else one.encoded for one in pictures]
    sizes = [len(one) for one in bodies]
    head = json.dumps({"target": target, "background": background, "sizes": sizes}).encode()
    return measure(struct.pack("<I", len(head)) + head + b"".join(bodies))


@pytest.mark.parametrize("shape", [(512, 128), (1024, 256), (1920, 768)])
def test_the_ratio_is_that_of_the_whole_image(shape: tuple[int, int]) -> None:
    strain = halves(shape, 0.004, 0.01)
    width = shape[1] * SCAN.line_pitch_mm
    target, background = f"2:7,0.5:{0.4 * width:.3f}", f"2:7,{0.6 * width:.3f}:{0.95 * width:.3f}"
    found = ask(target, background, [picture(strain)])
    whole = RatioMeter(Rectangle.parse(target), Rectangle.parse(background)).read(
        strain, np.ones(shape), BeamSpace.of(SCAN, shape)
    )
    assert found is not None
    assert found.ratio == pytest.approx(0.4, abs=0.01)
    assert found.ratio == pytest.approx(whole.ratio, abs=2e-3)
    assert found.spread == pytest.approx(whole.spread, rel=0.4)


def test_depth_counts_from_the_array() -> None:
    strain = halves((512, 128), 0.004, 0.01)
    deeper = picture(strain, scan=replace(SCAN, first_depth_mm=3.0))
    assert ask("5:10,1:6", "5:10,9:14", [deeper]) == ask("2:7,1:6", "2:7,9:14", [picture(strain)])
    outside = ask("2:7,1:6", "5:10,9:14", [deeper])
    assert outside is not None
    assert outside.refused == "outside"


@pytest.mark.parametrize("shape", [(512, 128), (1920, 768)])
def test_on_a_curved_array_the_ratio_is_that_of_the_whole_image(shape: tuple[int, int]) -> None:
    """Frozen or live: pictures say where their pixels lie."""
    scan = replace(SCAN, radius_mm=10.0, line_angle_deg=60 / shape[1], first_depth_mm=1.5)
    strain = halves(shape, 0.004, 0.01)
    one = picture(strain, scan=scan)
    target, background = "4:6,-4:-1", "4:6,1:4"
    found = ask(target, background, [one])
    whole = RatioMeter(Rectangle.parse(target), Rectangle.parse(background)).read(
        strain, np.ones(shape), BeamSpace.of(scan, shape)
    )
    assert found == Ruler.parse({"target": target, "background": background}).read(one.measured)
    assert found is not None
    assert found.ratio == pytest.approx(whole.ratio, abs=2e-3)
    assert found.ratio == pytest.approx(0.4, abs=0.01)


def test_the_strain_window_of_iq_is_counted_in_its_rows() -> None:
    """It takes fewer rows than that of RF, so that as many rows are more patches, and the ratio is surer."""
    strain = halves((512, 128), 0.004, 0.01)
    iq = replace(SCAN, fs_hz=10e6, demodulation_hz=6.5e6)
    rectangles = "4:34,0.5:6.5", "4:34,9:14.5"
    found = ask(*rectangles, [picture(strain, scan=iq)])
    rule = RatioRule(patch=(24, 12))
    whole = RatioMeter(*map(Rectangle.parse, rectangles), rule).read(
        strain, np.ones(strain.shape), BeamSpace.of(iq, strain.shape)
    )
    assert found is not None
    assert found.spread == pytest.approx(whole.spread, rel=0.1)


def test_the_known_ratio_of_the_simulated_lesion(act: Act) -> None:
    """Against the true motion, over the same two rectangles."""
    (d0, d1, a, b), (_, _, c, d) = act.regions_mm()
    target, background = f"{d0}:{d1},{a}:{b}", f"{d0}:{d1},{c}:{d}"
    found = ask(
        target, background, [picture(made.estimate.strain, made.estimate.quality) for made in act.images]
    )
    assert found is not None
    assert found.frames == len(act.images)
    assert found.ratio == pytest.approx(act.true_ratio_of(target, background), abs=0.03)


def test_only_live_images_of_one_session_count() -> None:
    good = picture(halves((512, 128), 0.004, 0.01))
    poor = picture(halves((512, 128), 0.01, 0.01), state="held")
    other = picture(halves((512, 128), 0.008, 0.01), session=2)
    rectangles = "2:7,1:6", "2:7,9:14"
    assert ask(*rectangles, [poor]) is None
    found = ask(*rectangles, [good, good, poor])
    assert found is not None
    assert (found.frames, round(found.ratio or 0, 1)) == (2, 0.4)
    found = ask(*rectangles, [good, good, other])
    assert found is not None
    assert (found.frames, round(found.ratio or 0, 1)) == (1, 0.8)


def test_reading_one_after_the_other_is_reading_them_together() -> None:
    pictures = [picture(halves((512, 128), 0.003 + 1e-4 * k, 0.01)) for k in range(5)]
    ruler = Ruler.parse({"target": "2:7,1:6", "background": "2:7,9:14"})
    readings = [ruler.read(one.measured) for one in pictures]
    together = ask("2:7,1:6", "2:7,9:14", pictures)
    assert readings[-1] is not None
    assert together is not None
    assert readings[-1] == together


@pytest.mark.parametrize(
    ("target", "quality", "refused"),
    [("2:7,1:6", 1.0, ""), ("2:99,1:6", 1.0, "outside"), ("2:7,1:6", 0.5, "unreadable")],
)
def test_refusals_have_names(target: str, quality: float, refused: str) -> None:
    found = ask(target, "2:7,9:14", [picture(halves((512, 128), 0.004, 0.01), quality)])
    assert found is not None
    assert found.refused == refused


def test_a_region_at_the_very_end_is_inside() -> None:
    for shape in [(512, 128), (1921, 769)]:
        one = picture(halves(shape, 0.004, 0.01))
        deep, wide = one.fields["reach_mm"]
        found = ask(f"{deep - 3:.3f}:{deep:.3f},1:6", f"1:4,{wide - 3:.3f}:{wide:.3f}", [one])
        assert found is not None
        assert found.refused == ""


def test_what_makes_no_sense_is_one_line() -> None:
    good = picture(halves((512, 128), 0.004, 0.01)).encoded
    with pytest.raises(OptionError, match="rectangle"):
        ask("all of it", "2:7,9:14", [good])
    for body in (b"", b"\xff\xff\xff\xff", b"\2\0\0\0{}", b"\4\0\0\0null", good):
        with pytest.raises(UsertError):
            measure(body)
    for many in ([], [good] * 11, [good[:50]]):
        with pytest.raises(UsertError):
            ask("2:7,1:6", "2:7,9:14", many)
    with pytest.raises(WireError, match="pitch_mm"):
        Measured.from_message(good.replace(b'"pitch_mm":[0.', b'"pitch_mm":[-1'))
