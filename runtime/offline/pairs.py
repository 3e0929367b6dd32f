"""The pairs of frames of a recording to estimate, as named on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from usert.errors import FrameError, OptionError, expect

CONSECUTIVE = "consecutive"

Pair = tuple[int, int]
"""Reference and current frame, counted from 0."""

_LISTED = 8
"""Pairs of one reason that are listed in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A pair that was not estimated, because a frame of it holds no RF signal."""

    pair: Pair
    reason: str
    """One line that names the frame."""

    @classmethod
    def of(cls, pair: Pair, error: FrameError) -> LeftOut:
        """The pair that `error` was raised for; the roles of the frames in its message become their numbers."""
        reason = str(error)
        for role, frame in zip(("reference", "current"), pair, strict=True):
            reason = re.sub(rf"^{role} frame\b", f"frame {frame}", reason)
        return cls(pair=pair, reason=reason)


def describe_left_out(left_out: Sequence[LeftOut]) -> str:
    """The pairs that were left out in one line, by reason.

    Such as `2 pairs: 3:4, 4:5 (frame 4: all samples are the same as int16, expected an RF signal)`.
    """
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.reason, []).append(f"{one.pair[0]}:{one.pair[1]}")
    parts = [f"{_listed(pairs)} ({reason})" for reason, pairs in list(by_reason.items())[:_LISTED]]
    more = len(by_reason) - len(parts)
    return (
        f"{counted(len(left_out))}: " + "; ".join(parts) + (f"; and for {more} more reasons" if more else "")
    )


def counted(pairs: int) -> str:
    """A number of pairs in words, such as `2 pairs`."""
    return f"{pairs} pair{'' if pairs == 1 else 's'}"


def _listed(pairs: Sequence[str]) -> str:
    more = len(pairs) - _LISTED
    return ", ".join(pairs[:_LISTED]) + (f" and {more} more" if more > 0 else "")


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
    expect(reference != current, "--pairs", text, "two different frames")
    return reference, current
