"""The pairs of frames of a recording to estimate, as named on the command line.

Invariant: every pair lies inside the recording and has two different frames.
"""

from __future__ import annotations

import re

from usert.errors import OptionError

CONSECUTIVE = "consecutive"

Pair = tuple[int, int]
"""Reference and current frame, counted from 0."""


def parse_pairs(text: str, frames: int) -> tuple[Pair, ...]:
    """Parse `consecutive` or `I:J,I:J,…` for a recording of `frames` frames.

    Errors: `OptionError` for anything else, frames out of range, a frame with itself, fewer than two frames.
    """
    if frames < 2:
        raise OptionError(f"got a recording of {frames} frame(s), expected two or more: strain needs a pair")
    if text.strip() == CONSECUTIVE:
        return tuple((k, k + 1) for k in range(frames - 1))
    return tuple(_parse_pair(part.strip(), frames) for part in text.split(","))


def _parse_pair(text: str, frames: int) -> Pair:
    match = re.fullmatch(r"([0-9]{1,18}):([0-9]{1,18})", text)
    if match is None:
        raise OptionError(f"--pairs: got {text!r}, expected {CONSECUTIVE}, or I:J,I:J,… such as 0:1,0:5")
    reference, current = int(match[1]), int(match[2])
    if max(reference, current) >= frames:
        raise OptionError(
            f"--pairs: got {text}, expected frames from 0 to {frames - 1}: that is all there are"
        )
    if reference == current:
        raise OptionError(f"--pairs: got {text}, expected two different frames")
    return reference, current
