"""What a benchmark's client keeps of an image: which frame it is of, and when what happened to it.

Knows messages, no sockets. Invariant: figures only, so that memory does not grow with the images; and times are
subtracted only where one clock gave both.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..imaging.display_state import State
from ..protocol.age import age_of, clock_id
from ..protocol.strain_message import Counters, StrainMessage

STAGES = "arrive", "wait", "engine", "publish", "network"
"""From when the frame was due until the server had it; until the engine started; its time; until the image was handed
to the socket (the server's mean); until it was here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Of one image."""

    sequence: int
    """Of the current frame."""
    state: State
    shape: tuple[int, int]
    counters: Counters
    arrived_ns: int
    """Here."""
    age_ms: float
    """Then."""
    exact: bool
    """Whether that is the age, or less than it."""
    arrive_ms: float | None
    """Parts of it; None: two clocks."""
    wait_ms: float
    worked_ms: float
    """Engine and publication."""
    network_ms: float | None

    @classmethod
    def of(cls, image: StrainMessage, arrived_ns: int) -> Seen:
        age = age_of(image, arrived_ns, arrived_ns, clock_id())
        here = image.server_clock == clock_id()
        arrive_ns = image.received_ns - image.current.time_ns
        return cls(
            sequence=image.current.sequence,
            state=image.state,
            shape=image.shape,
            counters=image.counters,
            arrived_ns=arrived_ns,
            age_ms=age.ms,
            exact=age.exact,
            arrive_ms=arrive_ns / 1e6 if age.exact else None,
            wait_ms=(image.started_ns - image.received_ns) / 1e6,
            worked_ms=(image.published_ns - image.started_ns) / 1e6,
            network_ms=(arrived_ns - image.published_ns) / 1e6 if here else None,
        )

    def stages_ms(self, publish_ms: float) -> dict[str, float]:
        """Those of `STAGES` that are known."""
        parts = self.arrive_ms, self.wait_ms, self.worked_ms - publish_ms, publish_ms, self.network_ms
        return {name: part for name, part in zip(STAGES, parts, strict=True) if part is not None}
