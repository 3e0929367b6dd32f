"""The notation of a frame shape, `1024x256` or `1024,256`, axial samples first, and of rows, `259:1299`."""

from __future__ import annotations

import re

from ..errors import OptionError, expect


def parse_shape(text: str, option: str = "--shape") -> tuple[int, int]:
    """Parse a shape (N, M), such as `1024x256`. Errors: `OptionError` that begins with `option`."""
    match = re.fullmatch(r"\s*(\d+)\s*[x×,]\s*(\d+)\s*", text)
    if not match or 0 in (shape := (int(match[1]), int(match[2]))):
        raise OptionError(f"{option}: got {text!r}, expected samples x lines, such as 1024x256")
    return shape


def parse_range(text: str, option: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Parse the smallest and the largest shape, such as `128x32:1024x256`.

    Errors: `OptionError` that begins with `option`.
    """
    parts = text.split(":")
    expect(len(parts) == 2, option, f"{text!r}", "two shapes such as 128x32:1024x256")
    return parse_shape(parts[0], option), parse_shape(parts[1], option)


def parse_rows(text: str | None) -> tuple[int, int] | None:
    """Parse the first sample and one past the last, such as `259:1299`; None for None. Errors: `OptionError`."""
    from ..formats import Rows

    if text is None:
        return None
    rows = Rows.parse(text)
    return rows.start, rows.stop
