"""Two rectangles and their ratio: by brute force, by chance, and refused."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from usert.beam_space import BeamSpace
from usert.errors import OptionError
from usert.frame import Scan
from usert.runtime.imaging.strain_ratio import RatioMeter, RatioRule, Rectangle, read_region

SCAN = Scan(fs_hz=40e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.3)
SHAPE = (400, 100)
SPACE = BeamSpace.of(SCAN, SHAPE)
TARGET = Rectangle(depth_mm=(2.0, 4.0), lateral_mm=(3.0, 9.0))
BACKGROUND = Rectangle(depth_mm=(2.0, 4.0), lateral_mm=(15.0, 27.0))
SAMPLES_APART = RatioRule(patch=(1, 1))


def two_sides(target: float, background: float) -> NDArray[np.float64]:
    strain = np.full(SHAPE, background)
    strain[:, :40] = target
    return strain


def meter(rule: RatioRule | None = None) -> RatioMeter:
    return RatioMeter(TARGET, BACKGROUND, rule)


def read(meter: RatioMeter, strain: NDArray[Any], quality: NDArray[Any] | float = 0.9) -> Any:
    return meter.read(strain, np.broadcast_to(np.asarray(quality), strain.shape), SPACE)


@pytest.mark.parametrize("centre_mm", [15.0, 60.0])
def test_a_rectangle_on_a_curved_array_holds_what_lies_in_it(centre_mm: float) -> None:
    """At two depths: two discs of known strain around the rectangles, of which one is twice as wide in lines."""
    space = BeamSpace.of(replace(SCAN, fs_hz=4e6, f0_hz=1.5e6, radius_mm=40.0, line_angle_deg=0.5), SHAPE)
    z, x = space.place_mm(*np.mgrid[: SHAPE[0], : SHAPE[1]])
    strain, rectangles = np.full(SHAPE, 9.9), []
    for across_mm, value in ((-8.0, 0.004), (8.0, 0.01)):
        strain[np.hypot(z - centre_mm, x - across_mm) < 6] = value
        span = centre_mm - 4, centre_mm + 4
        rectangles.append(Rectangle(depth_mm=span, lateral_mm=(across_mm - 4, across_mm + 4)))
    quality = np.where((np.abs(z - centre_mm) <= 4) & (np.abs(np.abs(x) - 8) <= 4), 0.9, 0.0)
    reading = RatioMeter(*rectangles).read(strain, quality, space)
    assert reading.ratio == pytest.approx(0.4)
    assert reading.target is not None
    assert reading.target.readable_share == 1, "of what lies in the rectangle"
    assert reading.target.pixels == np.count_nonzero(quality[:, : SHAPE[1] // 2])


def test_a_region_is_read_as_numpy_would() -> None:
    rng = np.random.default_rng(0)
    strain, quality = rng.standard_normal((40, 30)), rng.uniform(0.4, 1, (40, 30))
    strain[5, 5] = np.nan
    good = (quality >= 0.7) & np.isfinite(strain)
    region = read_region(strain, quality, RatioRule(patch=(10, 5)))
    assert region.mean_strain == pytest.approx(strain[good].mean())
    assert region.spread == pytest.approx(strain[good].std())
    assert region.quality == pytest.approx(quality[good].mean())
    assert (region.pixels, region.readable_share) == (good.sum(), good.mean())
    assert region.error == pytest.approx(strain[good].std() / math.sqrt(4 * 6 * good.mean()))


def test_two_plain_sides_give_their_ratio_and_no_spread() -> None:
    reading = read(meter(), two_sides(0.004, 0.01))
    assert reading.refused == ""
    assert reading.ratio == pytest.approx(0.4)
    assert reading.spread == pytest.approx(0.0, abs=1e-9)
    assert reading.quality == pytest.approx(0.9)
    assert reading.frames == 1
    assert reading.frame_spread is None, "one frame says nothing of the spread over frames"
    assert reading.target.mean_strain == pytest.approx(0.004)
    assert reading.background.mean_strain == pytest.approx(0.01)


@pytest.mark.parametrize(("noise_target", "noise_background"), [(5e-3, 5e-3), (0.0, 1e-2), (1e-2, 0.0)])
def test_the_spread_by_pixels_is_that_of_repeated_images(
    noise_target: float, noise_background: float
) -> None:
    rng, noise = np.random.default_rng(0), two_sides(noise_target, noise_background)
    small = RatioMeter(
        Rectangle(depth_mm=(2.0, 2.2), lateral_mm=(3.0, 6.0)),
        Rectangle(depth_mm=(2.0, 2.2), lateral_mm=(15.0, 18.0)),
        RatioRule(patch=(1, 1), least_pixels=10, frames=1),
    )
    readings = [read(small, two_sides(0.004, 0.01) + noise * rng.standard_normal(SHAPE)) for _ in range(400)]
    said = np.mean([reading.pixel_spread for reading in readings])
    assert np.std([reading.ratio for reading in readings]) == pytest.approx(said, rel=0.15)


def test_over_frames_the_ratio_is_a_slope_and_strong_frames_count_more() -> None:
    background = np.array([0.01, 0.001, -0.008, 0.005, -0.002])
    target = 0.4 * background + np.array([0.0, 5e-4, 2e-4, -1e-4, 0.0])
    one = meter()
    for t, b in zip(target, background, strict=True):
        reading = read(one, two_sides(t, b))
    ratio = (target * background).sum() / (background**2).sum()
    each, weights = target / background, background**2
    variance = (weights * (each - ratio) ** 2).sum() / weights.sum() * 5 / 4
    assert reading.ratio == pytest.approx(ratio)
    assert reading.frame_spread == pytest.approx(math.sqrt(variance))
    assert reading.spread == pytest.approx(math.sqrt(variance))
    assert reading.frames == 5


def test_releases_count_like_presses() -> None:
    one = meter()
    for size in (0.01, -0.01, 0.006, -0.012):
        reading = read(one, two_sides(0.4 * size, size))
    assert reading.ratio == pytest.approx(0.4)
    assert reading.spread == pytest.approx(0.0, abs=1e-9)


def test_old_frames_leave_and_a_new_session_starts_anew() -> None:
    one = meter(RatioRule(frames=3))
    for ratio in (0.9, 0.9, 0.4, 0.4, 0.4):
        reading = read(one, two_sides(ratio * 0.01, 0.01))
    assert (reading.ratio, reading.frames) == (pytest.approx(0.4), 3)
    one.reset()
    assert read(one, two_sides(0.007, 0.01)).ratio == pytest.approx(0.7)


@pytest.mark.parametrize(
    "rectangle",
    [
        Rectangle(depth_mm=(5.0, 7.7), lateral_mm=(3.0, 9.0)),
        Rectangle(depth_mm=(2.0, 4.0), lateral_mm=(25.0, 30.0)),
    ],
)
def test_a_rectangle_beyond_the_frame_is_refused(rectangle: Rectangle) -> None:
    for pair in ((rectangle, BACKGROUND), (TARGET, rectangle)):
        reading = read(RatioMeter(*pair), two_sides(0.004, 0.01))
        assert (reading.refused, reading.ratio) == ("outside", None)


def test_too_few_readable_pixels_are_refused_but_shown() -> None:
    quality = np.full(SHAPE, 0.9)
    quality[:, 12:40] = 0.5
    reading = read(meter(), two_sides(0.004, 0.01), quality)
    assert (reading.refused, reading.ratio, reading.spread) == ("unreadable", None, None)
    assert reading.target.readable_share < 0.5
    assert read(meter(RatioRule(least_pixels=100_000)), two_sides(0.004, 0.01)).refused == "unreadable"
    assert read(meter(), np.full(SHAPE, np.nan)).refused == "unreadable"


def test_a_background_that_cannot_be_told_from_zero_is_refused() -> None:
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    assert read(meter(), two_sides(0.004, 0.0)).refused == "background"
    assert read(meter(), two_sides(0.004, 2e-4)).refused == "background"
    assert read(meter(), two_sides(0.004, 0.01) + 0.05 * noise).refused == "background"
    assert read(meter(SAMPLES_APART), two_sides(0.004, 0.01) + 0.05 * noise).refused == ""


def test_a_refused_image_leaves_the_ones_before() -> None:
    one = meter()
    read(one, two_sides(0.004, 0.01))
    assert read(one, two_sides(0.004, 0.0)).frames == 0
    assert read(one, two_sides(0.004, 0.01)).frames == 2


def test_a_reading_is_made_of_plain_values() -> None:
    reading = read(meter(), two_sides(0.004, 0.01))
    fields = json.loads(json.dumps(asdict(reading), allow_nan=False))
    assert fields["ratio"] == pytest.approx(0.4)
    assert fields["target"]["pixels"] == reading.target.pixels
    refused = asdict(read(meter(), two_sides(0.004, 0.0)))
    assert (refused["refused"], refused["ratio"]) == ("background", None)
    assert json.loads(json.dumps(refused, allow_nan=False))["background"]["mean_strain"] == 0.0


def test_a_rectangle_is_read_from_text() -> None:
    rectangle = Rectangle.parse("10:14.5,3:8")
    assert rectangle == Rectangle(depth_mm=(10, 14.5), lateral_mm=(3, 8))
    assert str(rectangle) == "10:14.5,3:8"
    assert Rectangle.parse("10:14.5,-8:-3").lateral_mm == (-8, -3), "left of a centre line"


@pytest.mark.parametrize(
    "text", ["", "1:2", "1:2,3", "1:2,3:4,5:6", "a:b,c:d", "2:1,3:4", "1:nan,3:4", "1:inf,3:4"]
)
def test_other_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(OptionError, match=r"rectangle: got .* expected") as raised:
        Rectangle.parse(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "bad",
    [{"readable_quality": 0.0}, {"least_share": 2.0}, {"patch": (0, 5)}, {"frames": 0}, {"certainty": -1.0}],
)
def test_impossible_rules_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        RatioRule(**bad)
