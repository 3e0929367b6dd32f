"""Drawings of a pair as inline SVG: the frame, the true strain if known, and strain and quality of each method.

Pixels are PNG inside the SVG, painted as `usert.runtime.offline.figure` paints them; axes and words are SVG, so that
they take the page's colours and print sharp. Invariant: the strain panels of one pair share one colour scale, which
begins at 0.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from usert.quality import READABLE_QUALITY, Window
from usert.runtime.offline.canvas import Canvas
from usert.runtime.offline.colormap import colours
from usert.runtime.offline.figure import (
    Panel,
    bmode_panel,
    quality_panel,
    strain_panel,
    strain_range,
    ticks,
)
from usert.strain import axial_strain

from .figures import Measured
from .pair import Image, Pair

_LONGEST_PX, _PAINTED = 230, 1.3  # on the page; pixels painted for each of them
_LEFT_PX, _TOP_PX, _FOOT_PX = 38, 22, 36
_GAP_PX, _BAR_PX, _BAR_LABELS_PX, _NARROWEST_PX = 8, 9, 40, 210
_COLOURS = 256
_BORDER = 33
"""Points of the border of a window, a multiple of 4 and the first again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of panels, drawn one above the other."""

    head: str
    """Name of the method; empty for the column of the pair itself."""
    panels: tuple[str, ...]
    """The panels, each an `<svg>` element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The drawing of one pair: a column for the pair and one for each method."""

    pair: str
    columns: tuple[Column, ...]


def draw_pair(pair: Pair, measured: Mapping[str, Measured]) -> Drawing:
    """Draw a pair, its frame and truth, and the results of each method, `measured` by its name."""
    shape = pair.pre.shape[0], pair.pre.shape[1]
    page, canvas = (Canvas.of(pair.scan, shape, more * _LONGEST_PX) for more in (1.0, _PAINTED))
    qualities = {name: np.clip(found.quality, 0, 1) for name, found in measured.items()}
    true_strain = None if pair.truth is None else axial_strain(pair.truth[0], pair.strain_window)
    if true_strain is None:
        softs = [strain_range(_known(found.strain), qualities[name])[1] for name, found in measured.items()]
        soft = float(np.median(softs))
    else:
        soft = strain_range(true_strain, np.ones_like(true_strain))[1]

    own = [_svg(bmode_panel(pair.pre, canvas), page, pair.windows)]
    if true_strain is not None:
        panel = strain_panel(true_strain, np.ones_like(true_strain), canvas, soft)
        own.append(_svg(replace(panel, title="True axial strain (%)"), page))
    columns = [Column(head="", panels=tuple(own))]
    for name, found in measured.items():
        quality = qualities[name]
        # strain that could not be fitted is shown as doubted
        seen = np.where(np.isfinite(found.strain), quality, 0)
        strain = strain_panel(_known(found.strain), seen, canvas, soft)
        correlation = quality_panel(quality, canvas, "Quality (NCC after the warp)")
        columns.append(Column(head=name, panels=(_svg(strain, page), _svg(correlation, page))))
    return Drawing(pair=pair.name, columns=tuple(columns))


HATCHED = f"Hatched: quality below {READABLE_QUALITY}."


def _known(strain: Image) -> Image:
    return np.where(np.isfinite(strain), strain, 0).astype(np.float32)


def _svg(panel: Panel, page: Canvas, windows: Mapping[str, Window] | None = None) -> str:
    """An SVG element of the panel in the size of `page`, with axes in mm and its colour bar; `windows` are outlined."""
    (width, height), ((upper, lower), (first, last)) = page.size, page.bounds_mm
    x, y = _LEFT_PX, _TOP_PX
    bar = x + width + _GAP_PX
    whole = max(bar + _BAR_PX + _BAR_LABELS_PX, _NARROWEST_PX), y + height + _FOOT_PX
    title = escape(panel.title)
    parts = [
        f'<svg width="{whole[0]}" height="{whole[1]}" viewBox="0 0 {whole[0]} {whole[1]}" role="img"'
        f' aria-label="{title}"><text x="{x}" y="{y - 8}" class="t">{title}</text>',
        _picture(panel.image, x, y, width, height),
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" class="f"/>',
    ]
    for depth in ticks(upper, lower, max(2, height // 40)):
        at = y + (depth - upper) / (lower - upper) * height
        parts.append(f'<path d="M{x - 4} {at:.1f}h4"/>{_word(x - 7, at + 4, f"{depth:g}", "end")}')
    for across in ticks(first, last, max(2, width // 45)):
        at = x + (across - first) / (last - first) * width
        parts.append(
            f'<path d="M{at:.1f} {y + height}v4"/>{_word(at, y + height + 16, f"{across:g}", "middle")}'
        )
    parts.append(_word(x + width / 2, y + height + 31, "mm", "middle"))

    ramp = colours(np.linspace(1, 0, 64)[:, np.newaxis], panel.anchors)
    parts.append(_picture(Pillow.fromarray(ramp), bar, y, _BAR_PX, height))
    parts.append(f'<rect x="{bar}" y="{y}" width="{_BAR_PX}" height="{height}" class="f"/>')
    for number in ticks(panel.bottom, panel.top, max(2, height // 40)):
        at = y + (panel.top - number) / (panel.top - panel.bottom) * height
        parts.append(
            f'<path d="M{bar + _BAR_PX} {at:.1f}h3"/>{_word(bar + _BAR_PX + 6, at + 4, f"{number:.4g}", "start")}'
        )
    for name, window in (windows or {}).items():
        z, x_mm = page.space.place_mm(*_border(window, half=page.space.radius_mm is not None))
        down, right = y + (z - upper) / (lower - upper) * height, x + (x_mm - first) / (last - first) * width
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(right, down, strict=True)) + "Z"
        parts.append(
            f'<path d="{path}" class="h"/><path d="{path}" class="w"/>'
            f'<text x="{right[0] + 3:.1f}" y="{down[0] + 11:.1f}" class="w">{escape(name[0].upper())}</text>'
        )
    return "".join(parts) + "</svg>"


def _border(window: Window, *, half: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and lines around a window, from its upper left corner; `half`: samples lie in the middle of their pixels."""
    (top, bottom), (left, right) = window.rows, window.lines
    turn, corner = np.linspace(0, 4, _BORDER), np.arange(5)
    rows = np.interp(turn, corner, (top, top, bottom, bottom, top))
    lines = np.interp(turn, corner, (left, right, right, left, left))
    return (rows - 0.5, lines - 0.5) if half else (rows, lines)


def _word(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _picture(image: Pillow.Image, x: int, y: int, width: int, height: int) -> str:
    """An SVG image with the pixels as a small PNG of few colours."""
    few = image.quantize(_COLOURS, dither=Pillow.Dither.NONE)
    file = io.BytesIO()
    few.save(file, format="PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    box = f'x="{x}" y="{y}" width="{width}" height="{height}" preserveAspectRatio="none"'
    return f'<image {box} href="data:image/png;base64,{data}"/>'
