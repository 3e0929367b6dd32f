"""How a person writes a frame shape: `1024x256` or `1024,256`, axial samples first."""

from __future__ import annotations

import re

from ..errors import OptionError


def parse_shape(text: str, option: str = "--shape") -> tuple[int, int]:
    """(N, M) of `text`. Errors: `OptionError`."""
    match = re.fullmatch(r"\s*(\d+)\s*[x×,]\s*(\d+)\s*", text)
    if not match or 0 in (shape := (int(match[1]), int(match[2]))):
        raise OptionError(f"{option}: got {text!r}, expected samples x lines, such as 1024x256")
    return shape
