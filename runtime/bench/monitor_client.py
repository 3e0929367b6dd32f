"""A client of the monitor of a live server: its metrics and its health over HTTP, and why no images come."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from usert.errors import EngineError

_TIMEOUT_S = 5.0
_FIRST_IMAGE_S = 120.0
"""How long the first image may take while frames come and no pair fails."""


class SilentError(EngineError):
    """No images come; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counters since the server started."""

    frames: int
    """Frames received."""
    pairs: int
    publish_s: float
    """Seconds from the end of the engine's run to publication, summed over all pairs."""
    cpu_s: float | None
    """Processor time used; None where the system does not report it."""

    def publish_ms(self, before: Reading) -> float:
        """Mean publication time of a pair since `before`; 0 where there was none."""
        return 1e3 * (self.publish_s - before.publish_s) / max(self.pairs - before.pairs, 1)

    def used_s(self, before: Reading) -> float | None:
        """Processor time used since `before`."""
        return None if self.cpu_s is None or before.cpu_s is None else self.cpu_s - before.cpu_s


class MonitorClient:
    """Reads the monitor of a server at `address`, HOST:PORT."""

    def __init__(self, address: str) -> None:
        self._address = address

    def read(self) -> Reading:
        """The counters now. Errors: `SilentError` where the server does not answer."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self._get("/metrics").decode()):
            for sample in family.samples:
                stage = sample.labels.get("stage")
                found[sample.name if stage is None else f"{sample.name} {stage}"] = sample.value
        return Reading(
            frames=int(found.get("usert_frames_received_total", 0)),
            pairs=int(found.get("usert_stage_seconds_count publish", 0)),
            publish_s=found.get("usert_stage_seconds_sum publish", 0.0),
            cpu_s=found.get("process_cpu_seconds_total"),
        )

    def silence_cause(self, source: str, *, silent_s: float, patience_s: float, seen: bool) -> str | None:
        """Why no image came for `silent_s`, in one line; None while it is right to wait.

        `source`: name of the sender of frames. `patience_s`: how long frames may fail to come. `seen`: whether there
        were images before.
        """
        health, frames = json.loads(self._get("/health")), self.read().frames
        if "warms up" in health["reason"]:
            return None
        if frames == 0:
            if silent_s <= patience_s:
                return None
            return f"{source}: got no frame in {silent_s:.0f} s, expected one that sends: start it, or look where"
        if health["frame_age_s"] > patience_s:
            return f"{source}: got no frame for {health['frame_age_s']:.0f} s after {frames} of them: it has stalled"
        if health["failed_in_a_row"]:
            return (
                f"usert serve: got {frames} frames and no image of the last {health['failed_in_a_row']} pairs"
            )
        if silent_s > (patience_s if seen else _FIRST_IMAGE_S):
            return f"usert serve: got {frames} frames, but no image for {silent_s:.0f} s: {health['reason']}"
        return None

    def _get(self, page: str) -> bytes:
        try:
            with closing(http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)) as connection:
                connection.request("GET", page)
                return connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise SilentError(
                f"usert serve: got no answer of its monitor at {self._address}: {error}"
            ) from error
