"""Health of a live server, judged by the times at which its loop turned, received a frame and published an image.

All times are passed in, of one monotonic clock. Invariant: the loop writes plain numbers without a lock, so that a
report never delays it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

from usert.errors import expect

Status = Literal["ok", "waiting", "failing", "stuck"]
"""`ok`: frames arrive and the loop turns. `waiting`: no frame yet, or none for long, which is no fault of the server.
`failing`: the engine failed at each of the last pairs. `stuck`: the loop has not turned for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule:
    """Limits of what is healthy."""

    quiet_s: float = 5.0
    """Time without a frame after which the server is `waiting`."""
    stuck_s: float = 5.0
    """Time without a turn of the loop after which it is `stuck`; longer than the engine takes for any pair."""
    warm_up_s: float = 900.0
    """The same while the engine warms up, when it may compile."""
    failed_pairs: int = 10
    """Number of failed pairs in a row after which the server is `failing`."""

    def __post_init__(self) -> None:
        for name in ("quiet_s", "stuck_s", "warm_up_s"):
            value = getattr(self, name)
            expect(0 < value < math.inf, name, f"{value:g} s", "more than 0")
        expect(self.failed_pairs >= 1, "failed pairs", self.failed_pairs, "1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """State of health at one moment."""

    status: Status
    reason: str
    """Explanation in a few words; may be empty."""
    turn_age_s: float
    """Time since the loop last turned, or the server opened."""
    frame_age_s: float | None
    """Time since the last frame arrived; None: none yet."""
    image_age_s: float | None
    """Time since the last image was published; None: none yet."""
    failed_in_a_row: int
    """Number of pairs that failed since the last image."""

    @property
    def healthy(self) -> bool:
        """Whether the server works as it should; if not, a service manager should restart it."""
        return self.status in ("ok", "waiting")

    def to_json(self) -> str:
        """A JSON object with a key for each field; ages in seconds, rounded to milliseconds."""
        fields = {
            key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()
        }
        return json.dumps(fields, allow_nan=False)


class Health:
    """Health of one server: its loop notes events, any thread may ask for a `report`."""

    def __init__(self, opened_ns: int, rule: HealthRule | None = None) -> None:
        """`opened_ns`: when the server opened; also the first turn."""
        self.rule = rule or HealthRule()
        self._turned_ns = opened_ns
        self._warming = False
        self.frame_ns: int | None = None
        """Arrival of the last well-formed frame; written by the receiving threads."""
        self.image_ns: int | None = None
        """Publication of the last image; written by the serving thread."""
        self.failed_in_a_row = 0
        """Pairs since the last image that the engine failed at; written by the serving thread."""
        self._obstacle: tuple[str, int] | None = None
        """Why the newest frame gave no image of its own, and since when no frame has."""

    def turn(self, now_ns: int, *, warming: bool = False) -> None:
        """Note that the loop begins another turn; `warming`: the engine warms up until the next one, maybe for long."""
        self._turned_ns = now_ns
        self._warming = warming

    def obstructed(self, reason: str, now_ns: int) -> None:
        """Note why a frame gave no image of its own; ends with the next `cleared`."""
        obstacle = self._obstacle
        self._obstacle = reason, now_ns if obstacle is None else obstacle[1]

    def cleared(self) -> None:
        """Note that a frame gave an image."""
        self._obstacle = None

    def report(self, now_ns: int) -> Report:
        """The state of health at `now_ns`; for any thread."""
        turn_age_s = _age_s(self._turned_ns, now_ns)
        frame_ns, image_ns, failed = self.frame_ns, self.image_ns, self.failed_in_a_row
        frame_age_s = None if frame_ns is None else _age_s(frame_ns, now_ns)
        image_age_s = None if image_ns is None else _age_s(image_ns, now_ns)
        status, reason = self._judge(turn_age_s, frame_age_s, image_age_s, failed)
        if (obstacle := self._obstacle) is not None and status in ("ok", "failing") and not self._warming:
            lasted_s = _age_s(obstacle[1], now_ns)
            if lasted_s > self.rule.quiet_s or status == "failing":
                because = f"no image for {lasted_s:.0f} s because {obstacle[0]}"
                reason = f"{reason}: {because}" if status == "failing" else because
        return Report(
            status=status,
            reason=reason,
            turn_age_s=turn_age_s,
            frame_age_s=frame_age_s,
            image_age_s=image_age_s,
            failed_in_a_row=failed,
        )

    def _judge(
        self, turn_age_s: float, frame_age_s: float | None, image_age_s: float | None, failed: int
    ) -> tuple[Status, str]:
        rule, warming = self.rule, self._warming
        if turn_age_s > (rule.warm_up_s if warming else rule.stuck_s):
            return (
                "stuck",
                f"the loop has not turned for {turn_age_s:.0f} s{', warming up' if warming else ''}",
            )
        if failed >= rule.failed_pairs:
            return "failing", f"the engine failed at the last {failed} pairs"
        if frame_age_s is None:
            return "waiting", "no frame yet"
        if warming:  # a full queue of frames takes no further ones meanwhile
            return "ok", f"the engine warms up, for {turn_age_s:.0f} s now"
        if frame_age_s > rule.quiet_s:
            return "waiting", f"no frame for {frame_age_s:.0f} s"
        if image_age_s is None:
            return "ok", "no image yet"
        if image_age_s > rule.quiet_s:
            return "ok", f"frames come, but no image for {image_age_s:.0f} s"
        return "ok", ""


def _age_s(then_ns: int, now_ns: int) -> float:
    """Not negative: another thread may have written `then_ns` after `now_ns` was read."""
    return max(now_ns - then_ns, 0) / 1e9
