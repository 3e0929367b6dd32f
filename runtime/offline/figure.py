"""A picture of one pair as a PNG: B-mode, strain and quality side by side, at true aspect, with axes in mm.

Invariant: strain of poor quality never looks like strain of good quality, and zero strain has the same colour in every
picture.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from usert.analytic import envelope
from usert.beam_space import Span
from usert.errors import OptionError
from usert.frame import Scan
from usert.quality import READABLE_QUALITY

from .canvas import Canvas
from .colormap import GREY, VIRIDIS, colours

DYNAMIC_RANGE_DB = 60.0

LONGEST_PX = 560  # depth of a panel, or its width if the scan is wider than deep
_NARROWEST_PX = 190  # the room of a panel, so that its title fits
_LEFT_PX, _BAR_GAP_PX, _BAR_PX, _BAR_LABELS_PX = 82, 18, 18, 74
_MARGIN_PX, _TITLE_PX, _HEAD_PX, _FOOT_PX, _NOTE_PX = 22, 44, 40, 74, 40
_PAPER, _INK, _FAINT = (18, 18, 20), (232, 232, 236), (150, 150, 156)
_TEXT_PX, _SMALL_PX, _LARGE_PX = 19, 17, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A picture with its title and colour bar."""

    title: str
    image: Image.Image
    anchors: str
    bottom: float
    """Number at the lower end of the colour bar; may be the larger one."""
    top: float
    ends: tuple[str, str] = ("", "")
    """Words at the lower and the upper end of the bar."""


def save_png(page: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write `page` to the PNG `path`, whole or not at all. Errors: `OptionError` when it cannot be written."""
    part = Path(f"{os.fspath(path)}.part")
    try:
        page.save(part, format="PNG")
        part.replace(path)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def figure_page(
    *,
    samples: NDArray[Any],
    scan: Scan,
    strain: NDArray[Any],
    quality: NDArray[Any],
    title: str | None = None,
    soft: float | None = None,
) -> Image.Image:
    """A page with the reference frame's `samples`, `strain` as a fraction and `quality` 0 to 1, all (N, M).

    `soft` is the strain of the softest colour, as in `strain_range`; None: that of this pair. Lines of a curved or
    phased array are laid out as the fan that `scan` states.
    """
    if not samples.shape == strain.shape == quality.shape:
        raise ValueError(f"got shapes {samples.shape}, {strain.shape}, {quality.shape}, expected one shape")
    known = np.isfinite(strain) & np.isfinite(quality)
    strain = np.where(known, strain, 0).astype(np.float32)
    quality = np.where(known, quality, 0).astype(np.float32)
    canvas = Canvas.of(scan, (strain.shape[0], strain.shape[1]), LONGEST_PX)
    doubted = float((quality < READABLE_QUALITY).mean())
    panels = (
        bmode_panel(samples, canvas),
        strain_panel(strain, quality, canvas, soft),
        quality_panel(quality, canvas),
    )
    notes = ["Strain: compression positive."]
    if doubted > 0:
        share = "less than 1" if doubted < 0.01 else f"{100 * doubted:.0f}"
        notes.append(f"Hatched: quality below {READABLE_QUALITY} ({share} % of the image).")
    return _compose(panels, canvas.bounds_mm, title, notes)


def strain_range(strain: NDArray[Any], quality: NDArray[Any]) -> tuple[float, float]:
    """Strain of the hardest and the softest tissue that the colours tell apart: 0, and the 99th percentile.

    The second is negative where the tissue is stretched rather than compressed.
    """
    trusted = strain[quality >= READABLE_QUALITY]
    if trusted.size < 0.01 * strain.size:
        trusted = strain.ravel()
    sign = -1.0 if np.median(trusted) < 0 else 1.0
    return 0.0, sign * max(float(np.percentile(sign * trusted, 99)), 1e-5)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`, a step of 1, 2 or 5 apart, at most `most` of them."""
    low, high = min(low, high), max(low, high)
    decade = 10.0 ** math.floor(math.log10((high - low) / max(most - 1, 1)))
    for factor in (1, 2, 5, 10, 20):
        step = factor * decade
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            break
    return [k * step for k in range(first, last + 1)]


def bmode_panel(samples: NDArray[Any], canvas: Canvas) -> Panel:
    """B-mode of RF `samples` (N, M)."""
    amplitude = canvas.resampled(envelope(samples - samples.mean(axis=0)))
    bright = max(float(np.nanpercentile(amplitude, 99.5)), 1e-30)
    level_db = 20 * np.log10(np.maximum(amplitude / bright, 1e-9))
    return Panel(
        title="B-mode (dB)",
        image=canvas.picture(colours(1 + level_db / DYNAMIC_RANGE_DB, GREY)),
        anchors=GREY,
        bottom=-DYNAMIC_RANGE_DB,
        top=0,
    )


def strain_panel(
    strain: NDArray[Any], quality: NDArray[Any], canvas: Canvas, soft: float | None = None
) -> Panel:
    """Axial strain (N, M), hatched below readable quality; `soft`: its upper end."""
    hard, widest = strain_range(strain, quality)
    soft = widest if soft is None else soft
    picture = colours((canvas.resampled(strain) - hard) / (soft - hard), VIRIDIS).astype(np.float32)
    doubted = canvas.resampled(quality) < READABLE_QUALITY
    row, column = np.indices(doubted.shape)
    stripe = (row + column) % 12 < 4
    picture[doubted] = 0.35 * picture[doubted] + 0.65 * 60
    picture[doubted & stripe] = 165
    return Panel(
        title="Axial strain (%)",
        image=canvas.picture(picture.astype(np.uint8)),
        anchors=VIRIDIS,
        bottom=100 * hard,
        top=100 * soft,
        ends=("hard", "soft"),
    )


def quality_panel(quality: NDArray[Any], canvas: Canvas, title: str = "Quality") -> Panel:
    """Quality (N, M), from 0 to 1."""
    picture = canvas.picture(colours(canvas.resampled(quality), GREY))
    return Panel(title=title, image=picture, anchors=GREY, bottom=0, top=1)


def _compose(
    panels: tuple[Panel, ...], bounds_mm: tuple[Span, Span], title: str | None, notes: list[str]
) -> Image.Image:
    width, height = panels[0].image.size
    cell = _LEFT_PX + max(width, _NARROWEST_PX) + _BAR_GAP_PX + _BAR_PX + _BAR_LABELS_PX
    top = _MARGIN_PX + (_TITLE_PX if title else 0)
    whole = (2 * _MARGIN_PX + len(panels) * cell, top + _HEAD_PX + height + _FOOT_PX + _NOTE_PX + _MARGIN_PX)
    page = Image.new("RGB", whole, _PAPER)
    if title:
        write_text(page, (_MARGIN_PX + _LEFT_PX, _MARGIN_PX), title, "la", px=_LARGE_PX)
    for index, panel in enumerate(panels):
        _draw_panel(page, panel, _MARGIN_PX + index * cell + _LEFT_PX, top + _HEAD_PX, bounds_mm)
    note_at = (_MARGIN_PX + _LEFT_PX, top + _HEAD_PX + height + _FOOT_PX + 8)
    write_text(page, note_at, "  ".join(notes), "la", ink=_FAINT, px=_SMALL_PX)
    return page


def _draw_panel(page: Image.Image, panel: Panel, x: int, y: int, bounds_mm: tuple[Span, Span]) -> None:
    """Draw the panel with the upper left corner of its image at (x, y)."""
    draw = ImageDraw.Draw(page)
    width, height = panel.image.size
    most = max(2, height // 60)
    page.paste(panel.image, (x, y))
    draw.rectangle((x - 1, y - 1, x + width, y + height), outline=_FAINT)
    write_text(page, (x, y - 12), panel.title, "ls", px=_TEXT_PX + 1)

    (top, bottom), (left, right) = bounds_mm
    for depth in ticks(top, bottom, most):
        at = y + round((depth - top) / (bottom - top) * (height - 1))
        draw.line((x - 7, at, x - 2, at), fill=_INK)
        write_text(page, (x - 11, at), f"{depth:g}", "rm")
    for across in ticks(left, right, max(2, width // 60)):
        at = x + round((across - left) / (right - left) * (width - 1))
        draw.line((at, y + height + 1, at, y + height + 6), fill=_INK)
        write_text(page, (at, y + height + 10), f"{across:g}", "ma")
    write_text(page, (x + width // 2, y + height + 36), "Width (mm)", "ma")
    _write_upwards(page, (x - _LEFT_PX + 18, y + height // 2), "Depth (mm)")

    left = x + max(width, _NARROWEST_PX) + _BAR_GAP_PX
    ramp = np.repeat(np.linspace(1, 0, height)[:, None], _BAR_PX, axis=1)
    page.paste(Image.fromarray(colours(ramp, panel.anchors)), (left, y))
    draw.rectangle((left - 1, y - 1, left + _BAR_PX, y + height), outline=_FAINT)
    for number in ticks(panel.bottom, panel.top, most):
        at = y + round((panel.top - number) / (panel.top - panel.bottom) * (height - 1))
        draw.line((left + _BAR_PX + 1, at, left + _BAR_PX + 5, at), fill=_INK)
        write_text(page, (left + _BAR_PX + 9, at), f"{number:.6g}", "lm")
    write_text(page, (left, y + height + 10), panel.ends[0], "la")  # clear of the last number across
    write_text(page, (left, y - 12), panel.ends[1], "ls")


def write_text(
    page: Image.Image,
    at: tuple[int, int],
    text: str,
    anchor: str,
    *,
    ink: tuple[int, int, int] = _INK,
    px: int = _TEXT_PX,
) -> None:
    """Write `text` at (x, y) of `page`; `anchor` as Pillow's, `px` the size of the letters."""
    ImageDraw.Draw(page).text(at, text, fill=ink, font=ImageFont.load_default(size=px), anchor=anchor)


def _write_upwards(page: Image.Image, at: tuple[int, int], text: str) -> None:
    """Write vertical text, read from below, centred at `at`."""
    left, top, right, bottom = ImageFont.load_default(size=_TEXT_PX).getbbox(text)
    label = Image.new("RGB", (math.ceil(right - left) + 8, math.ceil(bottom - top) + 8), _PAPER)
    write_text(label, (label.width // 2, label.height // 2), text, "mm")
    turned = label.transpose(Image.Transpose.ROTATE_90)
    page.paste(turned, (at[0] - turned.width // 2, at[1] - turned.height // 2))
