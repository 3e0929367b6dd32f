"""The status of a live server, as the command `status` reports it.

Invariant: it fits into one header, and every value is one of JSON's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from usert import __version__

from ..monitor.counts import ServerCounts
from ..monitor.health import Report
from ..protocol.age import Readings
from ..record.recorder import Recorder
from ..record.switch import record_fields
from .control_handlers import shortened
from .engine_runner import EngineRunner
from .stream import Stream

_SOURCES = "lost", "duplicates", "late", "rejected", "clock_jumps", "sessions"
"""Counts of frames and sessions that a source is the cause of."""


def status_fields(
    *,
    counts: ServerCounts,
    output: Readings,
    engine: EngineRunner,
    streams: Mapping[str, Stream],
    recorder: Recorder | None,
    health: Report,
    uptime_s: float,
    denied: int,
) -> dict[str, Any]:
    """The sections of the status, in the order that a person reads them.

    `denied`: clients that were refused for want of a key.
    """
    frames = counts.frames
    return {
        "server": {
            "version": __version__,
            "health": health.status,
            "reason": health.reason,
            "uptime_s": round(uptime_s, 1),
            "engine": engine.engine.name,
            "bundle": None if engine.bundle is None else str(engine.bundle)[-256:],
            "weights_sha256": engine.weights_hash,
        },
        "output": {
            "images": output.count,
            "rate_hz": round(output.rate_hz, 2),
            "age_p50_ms": _figure(output.age_p50_ms),
            "age_p99_ms": _figure(output.age_p99_ms),
            "ages_exact": output.ages_exact,
            "missed_deadlines": counts.missed_deadlines,
        },
        "frames": {
            "received": frames.received,
            "dropped": frames.dropped,
            "unpaired": counts.unpaired,
            **{name: getattr(frames, name) for name in _SOURCES},
        },
        "failed": dict(counts.failed),
        "malformed": dict(counts.malformed),
        "denied": denied,
        "streams": [_stream(name, stream) for name, stream in streams.items()],
        "record": None if recorder is None else record_fields(recorder.stats),
    }


def _stream(name: str, stream: Stream) -> dict[str, Any]:
    shown = stream.last
    found: dict[str, Any] = {
        "stream": shortened(name),
        "session": stream.session,
        "session_reason": shortened(stream.session_reason, 128),
        "frozen": stream.frozen,
        "lag_frames": stream.lag.lag,
        "state": None if shown is None else shown.state,
        "reason": None if shown is None else shown.reason,
        "signal": None if stream.first_frames.signal is None else stream.first_frames.signal.kind,
        "no_image": shortened(stream.no_image, 128),
    }
    if shown is not None:
        frame = shown.image.pair.current.frame
        found |= {
            "shape": list(frame.shape),
            "sequence": frame.sequence,
            "score": _figure(shown.newest.score, 3),
            "strain_percent": _figure(100 * shown.newest.readable_strain, 3),
        }
    if stream.rectangles is not None:
        found["target"], found["background"] = map(str, stream.rectangles)
    return found


def _figure(value: float, digits: int = 1) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
