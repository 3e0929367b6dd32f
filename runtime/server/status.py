"""What a live server says of itself when it is asked.

Knows where the figures are, not who asks. Invariant: fits into one header, and every figure is JSON's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from usert import __version__

from ..monitor.health import Report
from ..protocol.age import Readings
from ..record.recorder import Recorder
from ..record.switch import record_fields
from .control_handlers import shortened
from .engine_runner import Running
from .stats import ServerStats
from .stream import Stream


def status_fields(
    *,
    stats: ServerStats,
    running: Running,
    streams: Mapping[str, Stream],
    recorder: Recorder | None,
    health: Report,
    uptime_s: float,
    denied: int,
) -> dict[str, Any]:
    """Sections of figures, in the order that a person reads them."""
    return {
        "server": {
            "version": __version__,
            "health": health.status,
            "reason": health.reason,
            "uptime_s": round(uptime_s, 1),
            "engine": running.engine.name,
            "bundle": None if running.bundle is None else str(running.bundle)[-256:],
            "weights_sha256": running.weights_hash,
        },
        "output": _output(stats.output, stats.missed_deadlines),
        "frames": {
            "received": stats.received,
            "dropped": stats.dropped,
            "unpaired": stats.unpaired,
            "lost": stats.lost,
            "duplicates": stats.duplicates,
            "late": stats.late,
            "turned_away": stats.turned_away,
            "clock_jumps": stats.clock_jumps,
            "sessions": stats.sessions,
        },
        "failed": stats.failed,
        "malformed": stats.malformed,
        "denied": denied,
        "streams": [_stream(name, stream) for name, stream in streams.items()],
        "record": None if recorder is None else record_fields(recorder.stats),
    }


def _output(readings: Readings, missed: int) -> dict[str, Any]:
    return {
        "images": readings.count,
        "rate_hz": round(readings.rate_hz, 2),
        "age_p50_ms": _figure(readings.age_p50_ms),
        "age_p99_ms": _figure(readings.age_p99_ms),
        "ages_exact": readings.ages_exact,
        "missed_deadlines": missed,
    }


def _stream(name: str, stream: Stream) -> dict[str, Any]:
    shown = stream.last
    found: dict[str, Any] = {
        "stream": shortened(name),
        "session": stream.session,
        "frozen": stream.frozen,
        "lag_frames": stream.lag.lag,
        "state": None if shown is None else shown.state,
        "reason": None if shown is None else shown.reason,
    }
    if shown is not None:
        frame = shown.image.of.current.frame
        found |= {
            "shape": list(frame.shape),
            "sequence": frame.sequence,
            "score": _figure(shown.newest.score, 3),
            "strain_percent": _figure(100 * shown.newest.mean_strain, 3),
        }
    if stream.rectangles is not None:
        found["target"], found["background"] = map(str, stream.rectangles)
    return found


def _figure(value: float, digits: int = 1) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
