"""A picture of a benchmark: for each shape a bar of latency for each variant, with p99, the maximum and the floor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw

from ..offline.figure import ticks, write_text
from .result import Row

_PAPER, _INK, _FAINT = (255, 255, 255), (24, 24, 28), (150, 150, 156)
_BAR, _FLOOR = (72, 116, 184), (200, 70, 50)
_NAME_PX, _AXIS_PX, _VALUE_PX, _MARGIN_PX = 270, 620, 130, 24
_TITLE_PX, _HEAD_PX, _ROW_PX, _FOOT_PX, _NOTE_PX = 44, 34, 30, 52, 30
_TEXT_PX, _LARGE_PX = 16, 20
_write = partial(write_text, ink=_INK, px=_TEXT_PX)


def draw_plot(rows: Sequence[Row], *, title: str) -> Image.Image:
    """A page with a panel for each shape, in the order of the rows."""
    panels: dict[str, list[Row]] = {}
    for row in rows:
        panels.setdefault(row["shape"], []).append(row)
    heights = [_HEAD_PX + len(panel) * _ROW_PX + _FOOT_PX for panel in panels.values()]
    width = 2 * _MARGIN_PX + _NAME_PX + _AXIS_PX + _VALUE_PX
    page = Image.new("RGB", (width, 2 * _MARGIN_PX + _TITLE_PX + sum(heights) + _NOTE_PX), _PAPER)
    _write(page, (_MARGIN_PX, _MARGIN_PX), title, "la", px=_LARGE_PX)
    top = _MARGIN_PX + _TITLE_PX
    for (shape, panel), height in zip(panels.items(), heights, strict=True):
        _draw_panel(page, top, shape, panel)
        top += height
    note = (
        "Bar: median; line: to p99; dot: the largest; red: the floor of the graph in float32 on this machine."
    )
    _write(page, (_MARGIN_PX, top + 4), note, "la", ink=_FAINT)
    return page


def scale_ms(rows: Sequence[Row]) -> float:
    """End of a panel's axis: beyond every p99, and beyond a maximum that is not an outlier."""
    most: float = max((row["p99_ms"] for row in rows if row["p99_ms"] is not None), default=1.0)
    near: list[float] = [
        row["max_ms"] for row in rows if row["max_ms"] is not None and row["max_ms"] <= 1.5 * most
    ]
    return 1.05 * max([most, *near])


def _draw_panel(page: Image.Image, top: int, shape: str, rows: Sequence[Row]) -> None:
    draw = ImageDraw.Draw(page)
    names = [f"{row['engine']} {row['precision']}" for row in rows]
    if len({row["bundle"] for row in rows}) > 1:
        names = [f"{Path(row['bundle']).name} {name}" for row, name in zip(rows, names, strict=True)]
    left, end = _MARGIN_PX + _NAME_PX, scale_ms(rows)
    bottom = top + _HEAD_PX + len(rows) * _ROW_PX

    def at(ms: float) -> int:
        return left + round(min(ms / end, 1.0) * _AXIS_PX)

    _write(page, (_MARGIN_PX, top + 8), shape, "la", px=_LARGE_PX)
    for mark in ticks(0, end, 8):
        draw.line((at(mark), top + _HEAD_PX, at(mark), bottom + 5), fill=(226, 226, 230))
        _write(page, (at(mark), bottom + 9), f"{mark:g}", "ma", ink=_FAINT)
    _write(page, (left + _AXIS_PX + 12, bottom + 9), "ms", "la", ink=_FAINT)
    for number, row in enumerate(rows):
        middle = top + _HEAD_PX + number * _ROW_PX + _ROW_PX // 2
        _write(page, (left - 12, middle), names[number], "rm")
        if row["error"] is not None or row["p50_ms"] is None:
            _write(page, (left + 6, middle), "failed", "lm", ink=_FLOOR)
            continue
        draw.rectangle((left, middle - 8, at(row["p50_ms"]), middle + 8), fill=_BAR)
        draw.line((at(row["p50_ms"]), middle, at(row["p99_ms"]), middle), fill=_BAR, width=2)
        if row["max_ms"] <= end:
            x = at(row["max_ms"])
            draw.ellipse((x - 3, middle - 3, x + 3, middle + 3), fill=_BAR)
        if row["floor_ms"] is not None:
            x = at(row["floor_ms"])
            draw.line((x, middle - 11, x, middle + 11), fill=_FLOOR, width=2)
        digits = 0 if row["p50_ms"] >= 100 else 1
        _write(page, (left + _AXIS_PX + 12, middle), f"{row['p50_ms']:.{digits}f}", "lm")
    draw.line((left, top + _HEAD_PX, left, bottom), fill=_INK)
