"""An MP4 (H.264) of a result: a page lasts as long as its pair, or a tenth of a second where no times are known.

Invariant: the same pages give the same bytes: one thread encodes, and no time of day is written.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from usert.errors import OptionError, require

from .pages import Pages

CODEC = "libx264"
NOMINAL_MS = 100.0
"""Duration of a page where the recording has no acquisition times."""
_CLOCK = Fraction(1, 1_000_000)


def write_video(path: Path, pages: Pages) -> None:
    """Write all pages as a video. Errors: `OptionError` when FFmpeg fails, `MissingExtraError`."""
    av = require("av", "video")
    times_us = _times_us(pages)
    try:
        with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
            stream = None
            for page, at_us in zip(pages, times_us, strict=True):
                pixels = _even(np.asarray(page))
                if stream is None:
                    stream = _stream(container, pixels.shape)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = at_us, _CLOCK
                container.mux(stream.encode(frame))
            if stream is not None:
                container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise OptionError(f"cannot write {path.with_suffix('')}: {' '.join(str(error).split())}") from error


def _stream(container: Any, shape: tuple[int, ...]) -> Any:
    # quality 18 of libx264's scale leaves text and ticks sharp
    stream = container.add_stream(
        CODEC, rate=round(1e3 / NOMINAL_MS), options={"crf": "18", "flags": "+bitexact"}
    )
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = "yuv420p"  # what players and browsers take
    stream.codec_context.time_base = _CLOCK
    stream.codec_context.thread_count = 1
    return stream


def _times_us(pages: Pages) -> list[int]:
    times_ns = pages.acquired_ns
    if times_ns is None:
        return [round(1e3 * NOMINAL_MS * index) for index in range(len(pages))]
    return [int(at) for at in (times_ns - times_ns[0]) // 1000]


def _even(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Pad both sides to even numbers, since colours have half the resolution."""
    odd = [(0, side % 2) for side in pixels.shape[:2]]
    return np.ascontiguousarray(np.pad(pixels, [*odd, (0, 0)], mode="edge"))
