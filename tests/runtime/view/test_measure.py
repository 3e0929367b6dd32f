"""What is measured in pictures: the same as in the image that they were made of, whatever was thinned out."""

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
from usert.runtime.view.measure import MOST_REGIONS, Measured, Plan, Reading, Ruler, measure
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


def shape_of(text: str) -> dict[str, Any]:
    """A rectangle as a browser sends it, from "depth,lateral" in mm."""
    rectangle = Rectangle.parse(text)
    return {"kind": "rectangle", "depth": rectangle.depth_mm, "lateral": rectangle.lateral_mm}


def plan(*texts: str, reference: int | None = 1, **fields: Any) -> dict[str, Any]:
    return {"version": 7, "shapes": [shape_of(text) for text in texts], "reference": reference, **fields}


def ruler(*texts: str, before: Ruler | None = None, **fields: Any) -> Ruler:
    return Ruler(Plan.parse(json.loads(json.dumps(plan(*texts, **fields)))), before)


def answer(asked: dict[str, Any], pictures: Sequence[Picture | bytes]) -> Reading | None:
    bodies = [one if isinstance(one, bytes) else one.encoded for one in pictures]
    head = json.dumps({**asked, "sizes": [len(one) for one in bodies]}).encode()
    return measure(struct.pack("<I", len(head)) + head + b"".join(bodies))


def ask(target: str, background: str, pictures: Sequence[Picture | bytes]) -> RatioReading | None:
    """The ratio of two rectangles."""
    found = answer(plan(target, background), pictures)
    return found and found.ratios[0]


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
    assert answer(plan(target, background), [one]) == ruler(target, background).read(one.measured)
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
    one = ruler("2:7,1:6", "2:7,9:14")
    readings = [one.read(each.measured) for each in pictures]
    assert readings[-1] is not None
    assert readings[-1] == answer(plan("2:7,1:6", "2:7,9:14"), pictures)


def test_each_region_is_divided_by_the_reference() -> None:
    strain = np.full((512, 128), 0.01)
    strain[:, :40], strain[:, 40:60] = 0.004, 0.02
    found = answer(plan("2:7,1:4", "2:4,9:14", "3:6,5.2:6.8", "4:99,1:4"), [picture(strain)])
    assert found is not None
    assert [region and round(region.mean_strain, 5) for region in found.regions] == [0.004, 0.01, 0.02, None]
    refusals = [ratio and ratio.refused for ratio in found.ratios]
    assert refusals == ["", None, "", "outside"]
    assert [ratio and ratio.ratio for ratio in found.ratios] == [
        pytest.approx(0.4),
        None,
        pytest.approx(2),
        None,
    ]
    alone = answer(plan("2:7,1:4", reference=None), [picture(strain)])
    assert alone is not None
    assert (alone.ratios, alone.version) == ((None,), 7)
    json.dumps(found.fields, allow_nan=False)


def test_a_change_of_one_region_leaves_the_ratios_of_others_and_counts_no_image_twice() -> None:
    pictures = [picture(halves((512, 128), 0.004 + 1e-4 * k, 0.01)) for k in range(3)]
    one = ruler("2:7,1:6", "2:7,9:14")
    for each in pictures:
        before = one.read(each.measured)
    changed = ruler("2:7,1:6", "2:7,9:14", "3:4,1:3", before=one)
    after = changed.read(pictures[-1].measured)
    assert before is not None
    assert after is not None
    assert after.ratios[0] == before.ratios[0]
    frames = [[ratio and ratio.frames for ratio in reading.ratios] for reading in (before, after)]
    assert frames == [[3, None], [3, None, 1]]
    moved = ruler("2:7,1:6", "2.1:7,9:14", before=changed).read(pictures[-1].measured)
    assert moved is not None
    assert moved.ratios[0] is not None
    assert moved.ratios[0].frames == 1


def test_regions_find_their_pixels_anew_where_the_image_lies_elsewhere() -> None:
    one = ruler("2:7,1:6", "2:7,9:14")
    for depth in (0.0, 3.0):
        strain = np.full((512, 128), 0.01)
        strain[: round((4.5 - depth) / SCAN.axial_pitch_mm)] = 0.02
        found = one.read(picture(strain, scan=replace(SCAN, first_depth_mm=depth)).measured)
        assert found is not None
        if depth:
            assert found.regions[0] is None
        else:
            assert found.regions[0] is not None
            assert found.regions[0].mean_strain == pytest.approx(0.015, rel=0.02)


def test_where_nothing_may_be_read_everything_says_so() -> None:
    strain = halves((512, 128), 0.004, 0.01)
    for one in (picture(strain, 0.1), picture(np.full(strain.shape, np.nan))):
        found = answer(plan("2:7,1:6", "2:7,9:14", histogram=0), [one])
        assert found is not None
        assert [region and region.readable_share for region in found.regions] == [0, 0]
        assert found.ratios[0] is not None
        assert (found.ratios[0].refused, found.histogram) == ("unreadable", None)
        json.dumps(found.fields, allow_nan=False)


def test_the_histogram_is_that_of_the_region() -> None:
    strain = halves((512, 128), 0.004, 0.01)
    found = answer(plan("2:7,1:6", "2:7,9:14", histogram=0), [picture(strain)])
    assert found is not None
    histogram, region = found.histogram, found.regions[0]
    assert histogram is not None
    assert region is not None
    assert (histogram.mean, histogram.spread) == (region.mean_strain, region.spread)
    assert sum(histogram.counts) == region.pixels


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
    for wrong in (
        {"shapes": None},
        {"shapes": []},
        {"shapes": ["all of it"]},
        {"shapes": [shape_of("2:7,9:14")] * (MOST_REGIONS + 1)},
        {"reference": 2},
        {"reference": "1"},
        {"histogram": -1},
        {"version": "x"},
        {"version": 10**400},
    ):
        with pytest.raises(OptionError, match="region"):
            answer(plan("2:7,1:6", "2:7,9:14") | wrong, [good])
    for body in (b"", b"\xff\xff\xff\xff", b"\2\0\0\0{}", b"\4\0\0\0null", good):
        with pytest.raises(UsertError):
            measure(body)
    for many in ([], [good] * 11, [good[:50]]):
        with pytest.raises(UsertError):
            ask("2:7,1:6", "2:7,9:14", many)
    with pytest.raises(WireError, match="pitch_mm"):
        Measured.from_message(good.replace(b'"pitch_mm":[0.', b'"pitch_mm":[-1'))
