"""The choice of the frame that the newest one is paired with.

Invariant: both frames of a pair belong to one session, the reference is the older, and the distance between them is
within the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from usert.errors import expect

from .frames import ReceivedFrame

MAX_LAG = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingRule:
    """Limits of the distance between the two frames of a pair."""

    lag: int = 1
    """Frames from the reference to the current one, counted by sequence number."""
    max_gap_frames: int = 4
    """Frames by which the reference may be nearer or farther than `lag` where that frame is missing."""
    max_interval_ms: float = 1000.0
    """Longest time between the two frames: tissue does not keep its speckle for long."""

    def __post_init__(self) -> None:
        expect(1 <= self.lag <= MAX_LAG, "lag", self.lag, f"1 to {MAX_LAG} frames")
        expect(0 <= self.max_gap_frames <= MAX_LAG, "max gap", self.max_gap_frames, f"0 to {MAX_LAG} frames")
        expect(self.max_interval_ms > 0, "max interval", f"{self.max_interval_ms:g} ms", "more than 0")

    def kept(self, longest: int | None = None) -> int:
        """Number of frames before the newest to keep for this rule, or for lags of up to `longest`."""
        return (longest or self.lag) + self.max_gap_frames


def choose_reference(
    current: ReceivedFrame,
    kept: Iterable[ReceivedFrame],
    rule: PairingRule,
    *,
    lag_for: Callable[[int], int] | None = None,
) -> ReceivedFrame | None:
    """The frame of `kept` closest to the lag before `current`, or None when none is allowed.

    Of two that are equally close the older is chosen: more motion is easier to see than less. `lag_for` returns the
    lag, given how many frames back the oldest possible reference lies; None takes that of the rule.
    """
    by_distance = {
        current.frame.sequence - frame.frame.sequence: frame
        for frame in kept
        if frame.session == current.session and interval_ms(frame, current) <= rule.max_interval_ms
    }
    lag = rule.lag if lag_for is None else lag_for(max(by_distance, default=0))
    allowed = [back for back in by_distance if back >= 1 and abs(back - lag) <= rule.max_gap_frames]
    return by_distance[min(allowed, key=lambda back: (abs(back - lag), -back))] if allowed else None


def explain_unpaired(
    current: ReceivedFrame, kept: Iterable[ReceivedFrame], rule: PairingRule, *, lag: int
) -> str:
    """The reason, in a few words, why no frame of `kept` may be paired with `current` at `lag`."""
    own = [frame for frame in kept if frame.session == current.session]
    if not own:
        return f"every frame begins a session ({current.session_reason})"
    back = [current.frame.sequence - frame.frame.sequence for frame in own]
    ages_ms = [interval_ms(frame, current) for frame in own]
    least, most = max(1, lag - rule.max_gap_frames), lag + rule.max_gap_frames
    return (
        f"no pair is allowed: got frames {min(back)} to {max(back)} back, {min(ages_ms):.0f} to {max(ages_ms):.0f} ms, "
        f"expected {least} to {most} back and at most {rule.max_interval_ms:g} ms"
    )


def interval_ms(reference: ReceivedFrame, current: ReceivedFrame) -> float:
    """Time between two frames by the source's clock, or by arrival when the source stamps no times."""
    start_ns, end_ns = reference.frame.time_ns, current.frame.time_ns
    if start_ns == 0:
        start_ns, end_ns = reference.received_ns, current.received_ns
    return (end_ns - start_ns) / 1e6
