"""The times of one received image: what a benchmark keeps of it."""

from __future__ import annotations

from dataclasses import dataclass

from ..imaging.live_or_held import State
from ..protocol.age import age_of, clock_id
from ..protocol.strain_message import Counters, StrainMessage

STAGES = "arrive", "wait", "engine", "publish", "network"
"""Parts of an image's age: from when the frame was due until the server received it; until the engine started; until
the engine was done; until the image was handed to the socket (the server's mean); until the client received it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTimes:
    """Times of one image, and the state and counters it came with; no pixels, so that memory hardly grows."""

    sequence: int
    """Number of the current frame."""
    state: State
    shape: tuple[int, int]
    counters: Counters
    arrived_ns: int
    """When the client received the image."""
    age_ms: float
    """Age of the image at that moment."""
    exact: bool
    """Whether `age_ms` is the age; otherwise it is a lower bound."""
    arrive_ms: float | None
    """Time until the server received the frame; None where scanner and client have different clocks."""
    wait_ms: float
    worked_ms: float
    """Time of engine and publication together."""
    network_ms: float | None

    @classmethod
    def of(cls, image: StrainMessage, arrived_ns: int) -> ImageTimes:
        """The times of `image`, which arrived at `arrived_ns` of this machine's monotonic clock."""
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
        """The known ones of `STAGES`; `publish_ms`: mean publication time."""
        parts = self.arrive_ms, self.wait_ms, self.worked_ms - publish_ms, publish_ms, self.network_ms
        return {name: part for name, part in zip(STAGES, parts, strict=True) if part is not None}
