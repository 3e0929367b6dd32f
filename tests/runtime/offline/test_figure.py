"""Pictures: what a person must be able to read off them is there, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from usert.errors import OptionError
from usert.frame import RFFrame, Scan
from usert.runtime.offline.canvas import Canvas
from usert.runtime.offline.colormap import GREY, VIRIDIS, colours
from usert.runtime.offline.figure import (
    bmode_panel,
    figure_page,
    save_png,
    strain_panel,
    strain_range,
    ticks,
)

SHAPE = (400, 60)
CANVAS_SCAN = Scan(fs_hz=77e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.04)
CANVAS = Canvas.of(CANVAS_SCAN, SHAPE, 100)
"""Of 60 x 100 pixels: 2.4 mm x 4 mm."""


def speckle() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 1000, SHAPE).astype(np.int16)


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB bytes (D65)."""
    unit = rgb / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_lightness_of_viridis_rises_in_equal_steps() -> None:
    steps = np.diff(lightness(colours(np.linspace(0, 1, 65), VIRIDIS)))
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.mean()


def test_colours_clip_and_keep_their_ends() -> None:
    ends = colours(np.array([-5, 0, 1, 7, np.nan]), VIRIDIS)
    dark, bright = (0x44, 0x01, 0x54), (0xFD, 0xE7, 0x25)
    np.testing.assert_array_equal(ends, [dark, dark, bright, bright, dark])
    np.testing.assert_array_equal(colours(np.array([[0.5]]), GREY), [[[128, 128, 128]]])


@pytest.mark.parametrize("sign", [1, -1])
def test_hard_is_zero_and_soft_the_strain_of_most_tissue(sign: int) -> None:
    strain = sign * np.linspace(0.002, 0.02, 1000).reshape(100, 10)
    strain[0, 0] = sign * 5.0
    hard, soft = strain_range(strain, np.ones_like(strain))
    assert hard == 0
    assert sign * soft == pytest.approx(0.02, rel=0.02)


def test_a_fan_is_painted_inside_and_grey_outside() -> None:
    """Of a phased array: a triangle, pointing up, whose colours are those of the lines."""
    plain = Scan(fs_hz=40e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.3)
    scan = replace(plain, radius_mm=0.0, line_angle_deg=90 / (SHAPE[1] - 1))
    strain = np.where(np.arange(SHAPE[1]) < SHAPE[1] // 2, 0.0, 0.01) * np.ones((SHAPE[0], 1))
    page = figure_page(
        samples=speckle(),
        scan=scan,
        strain=strain,
        quality=np.ones(SHAPE),
    )
    pixels = np.asarray(page).astype(int)
    for painted in (colours(np.array([0.0]), VIRIDIS)[0], colours(np.array([1.0]), VIRIDIS)[0]):
        assert (np.abs(pixels - painted).max(axis=-1) < 3).sum() > 10_000
    hard = np.abs(pixels - colours(np.array([0.0]), VIRIDIS)[0]).max(axis=-1) < 3
    rows, columns = np.nonzero(hard[:, 300:1100])  # the second panel, without its colour bar
    assert np.ptp(columns[rows < rows.min() + 20]) < 40 < np.ptp(columns[rows == int(np.median(rows))])


def test_a_place_in_mm_has_its_pixel() -> None:
    """A disc of known size at a known place of a curved array; background beyond the fan."""
    scan = replace(
        CANVAS_SCAN, fs_hz=4e6, f0_hz=1.5e6, radius_mm=50.0, line_angle_deg=1.0, first_depth_mm=4.0
    )
    canvas = Canvas.of(scan, SHAPE, 560)
    z, x = canvas.space.place_mm(*np.mgrid[: SHAPE[0], : SHAPE[1]])
    spot = np.hypot(z - 40, x + 15) < 10
    found = np.argwhere(canvas.resampled(spot.astype(np.float32)) > 0.5) + 0.5
    centre = found.mean(axis=0) * canvas.pixel_mm + [edges[0] for edges in canvas.bounds_mm]
    np.testing.assert_allclose(centre, (40, -15), atol=0.4)
    assert len(found) * math.prod(canvas.pixel_mm) == pytest.approx(100 * math.pi, rel=0.04)
    assert canvas.pixel_mm[0] == pytest.approx(canvas.pixel_mm[1], rel=0.01)
    panel = strain_panel(np.full(SHAPE, 0.01), np.where(z < 60, 0.9, 0.2), canvas)
    pixels = np.asarray(panel.image)
    np.testing.assert_array_equal(pixels[[0, 0, -1, -1], [0, 300, 0, -1]], np.full((4, 3), 30))
    assert panel.image.size == canvas.size


def test_doubtful_strain_does_not_choose_the_range() -> None:
    strain, quality = np.full(SHAPE, 0.01), np.ones(SHAPE)
    strain[:100], quality[:100] = 0.5, 0.1
    assert strain_range(strain, quality)[1] == pytest.approx(0.01)
    assert strain_range(strain, np.zeros(SHAPE))[1] == pytest.approx(0.5)
    assert strain_range(np.zeros(SHAPE), quality)[1] > 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_hard_lesion_is_darker_whether_compressed_or_stretched(sign: int) -> None:
    strain = np.full(SHAPE, sign * 0.01, np.float32)
    strain[150:250, 20:40] = sign * 0.003
    panel = strain_panel(strain, np.ones(SHAPE, np.float32), CANVAS)
    pixels = lightness(np.asarray(panel.image))
    assert pixels[50, 30] < pixels[10, 30] - 30
    assert panel.ends == ("hard", "soft")
    assert (panel.bottom, panel.top) == (0, pytest.approx(sign * 1.0))


def test_doubtful_strain_is_hatched() -> None:
    strain, quality = np.full(SHAPE, 0.01, np.float32), np.ones(SHAPE, np.float32)
    quality[200:] = 0.2
    pixels = np.asarray(strain_panel(strain, quality, CANVAS).image).astype(int)
    assert (pixels[:45] == pixels[0, 0]).all()
    saturation = pixels[55:].max(axis=-1) - pixels[55:].min(axis=-1)
    assert 0.2 < (saturation == 0).mean() < 0.5
    assert saturation.max() < 0.4 * np.ptp(pixels[0, 0])


def test_bmode_is_dark_where_echoes_are_weak(make_frame: Callable[..., RFFrame]) -> None:
    samples = make_frame(shape=SHAPE, dtype="float32").samples.copy()
    samples[200:] *= 0.1
    pixels = np.asarray(bmode_panel(samples, CANVAS).image)[..., 0].astype(float)
    assert pixels[:45].mean() - pixels[55:].mean() == pytest.approx(255 * 20 / 60, rel=0.1)


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 41.2, 9, [0, 5, 10, 15, 20, 25, 30, 35, 40]),
        (0, 41.2, 3, [0, 20, 40]),
        (0, -1.63, 7, [-1.5, -1, -0.5, 0]),
        (-60, 0, 7, [-60, -50, -40, -30, -20, -10, 0]),
        (0, 1, 2, [0, 1]),
        (0, 0.00123, 7, [0, 0.0002, 0.0004, 0.0006, 0.0008, 0.001, 0.0012]),
    ],
)
def test_ticks_are_round(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == pytest.approx(expected)


@pytest.mark.parametrize(("fs_hz", "pitch_mm"), [(40e6, 0.108), (40e6, 0.01), (40e6, 2.0), (80e6, 20.0)])
def test_images_have_true_aspect(tmp_path: Path, fs_hz: float, pitch_mm: float) -> None:
    scan = Scan(fs_hz=fs_hz, f0_hz=5e6, sound_speed_m_s=1540, line_pitch_mm=pitch_mm)
    from usert.runtime.offline import figure

    seen: list[tuple[int, int]] = []
    paste = Image.Image.paste

    def spy(page: Image.Image, image: Image.Image, box: tuple[int, int]) -> None:
        seen.append(image.size)
        paste(page, image, box)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure.Image.Image, "paste", spy)
        figure_page(samples=speckle(), scan=scan, strain=np.zeros(SHAPE), quality=np.ones(SHAPE))
    width, height = seen[0]
    depth_mm, width_mm = SHAPE[0] * scan.axial_pitch_mm, SHAPE[1] * pitch_mm
    assert max(width, height) == 560
    assert width == pytest.approx(height * width_mm / depth_mm, abs=max(1, width_mm / depth_mm))
    assert seen.count((width, height)) == 3


def test_unknown_strain_is_drawn_as_doubtful(tmp_path: Path, scan: Scan) -> None:
    strain = np.full(SHAPE, np.nan)
    page = figure_page(samples=speckle(), scan=scan, strain=strain, quality=np.ones(SHAPE))
    save_png(page, tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_unwritable_path_is_one_line_and_leaves_nothing(tmp_path: Path, scan: Scan) -> None:
    page = figure_page(samples=speckle(), scan=scan, strain=np.zeros(SHAPE), quality=np.ones(SHAPE))
    with pytest.raises(OptionError, match=r"cannot write .*f\.png: No such"):
        save_png(page, tmp_path / "none" / "f.png")
    (tmp_path / "f.png").mkdir()
    with pytest.raises(OptionError, match=r"cannot write .*f\.png: Is a directory"):
        save_png(page, tmp_path / "f.png")
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"]


def test_shapes_must_agree(scan: Scan) -> None:
    with pytest.raises(ValueError, match=r"\(400, 60\).* \(3, 3\).*, expected"):
        figure_page(samples=speckle(), scan=scan, strain=np.zeros((3, 3)), quality=np.ones(SHAPE))
