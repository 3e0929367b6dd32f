"""Colours of strain: which can be read by everybody, decided by computation."""

from __future__ import annotations

import numpy as np
import pytest

from usert.runtime.offline.colormap import colours
from usert.runtime.view.colour_maps import MAPS, is_safe, table

SAFE = ("viridis", "cividis", "grey")


def _lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB bytes."""
    linear = np.where(rgb <= 10.31, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)


@pytest.mark.parametrize("name", SAFE)
def test_colours_are_told_apart_by_lightness_alone_in_even_steps(name: str) -> None:
    rgb = table(name)
    assert rgb.shape == (256, 3)
    steps = np.diff(_lightness(rgb)[::16])
    assert steps.min() > 0
    if name != "grey":
        assert steps.max() < 2.2 * steps.min()


@pytest.mark.parametrize("name", list(MAPS))
def test_what_is_safe_is_so_either_way_round(name: str) -> None:
    assert is_safe(table(name)) == is_safe(table(name)[::-1]) == (name in SAFE)


@pytest.mark.parametrize(
    ("anchors", "safe"),
    [
        ("000080 0000ff 00ffff ffff00 ff0000 800000", False),  # rainbow
        ("ff0000 00c800", False),  # red to green
        ("777777 888888", False),  # hardly a difference
        ("000000 ffffff 000000", False),  # there and back
        ("200000 ff3030 ffe0e0", False),  # dark red is black to protanopes, and hardly rises
        ("000040 3060c0 c0e0ff", True),
    ],
)
def test_other_maps_are_judged_alike(anchors: str, safe: bool) -> None:
    assert is_safe(colours(np.linspace(0, 1, 256), anchors)) == safe


def test_the_maps_of_scanners_are_blue_where_hard_and_red_where_soft() -> None:
    for name in ("blue-green-red", "blue-white-red"):
        hard, soft = table(name)[[0, -1]].astype(int)
        assert hard[2] > 150 > 3 * hard[0]
        assert soft[0] > 150 > 3 * soft[2]
