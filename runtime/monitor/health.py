"""Whether the live server does its work, from what its loop tells.

Pure logic: knows no server, no clock and no HTTP; every time is given, of one monotonic clock. Invariant: a report is
made from a handful of numbers, each written whole and without a lock: asking never holds the loop up.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

from usert.errors import OptionError

Status = Literal["ok", "waiting", "failing", "stuck"]
"""`ok`: frames come, and the loop turns. `waiting`: no frames: none yet, or none for long; who starts first is free.
`failing`: the engine failed at all of the last pairs. `stuck`: the loop has not turned for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule:
    """How long is long."""

    quiet_s: float = 5.0
    """Without a frame, until it is said that the server waits."""
    stuck_s: float = 5.0
    """Without a turn of the loop; more than the engine ever takes for a pair."""
    warm_up_s: float = 900.0
    """The same while the engine warms up, which may compile."""
    failed_pairs: int = 10
    """Failed one after the other."""

    def __post_init__(self) -> None:
        for name in ("quiet_s", "stuck_s", "warm_up_s"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise OptionError(f"{name}: got {value:g} s, expected more than 0")
        if self.failed_pairs < 1:
            raise OptionError(f"failed pairs: got {self.failed_pairs}, expected 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer at one moment."""

    status: Status
    reason: str
    """In a few words; empty where there is nothing to say."""
    turn_age_s: float
    """Since the loop last turned, or the server opened."""
    frame_age_s: float | None
    """Since the last frame came; None: none yet."""
    image_age_s: float | None
    """Since the last image was published; None: none yet."""
    failed_in_a_row: int
    """Pairs since the last image."""

    @property
    def healthy(self) -> bool:
        """Whether to leave the server alone: waiting is no fault of its own."""
        return self.status in ("ok", "waiting")

    def to_json(self) -> str:
        """One object, a key for each field; ages in seconds, to the millisecond."""
        fields = {
            key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()
        }
        return json.dumps(fields, allow_nan=False)


class Health:
    """The loop tells, anybody asks."""

    def __init__(self, opened_ns: int, rule: HealthRule | None = None) -> None:
        """`opened_ns`: now."""
        self.rule = rule or HealthRule()
        self._turned_ns = opened_ns
        self._warming = False
        self._frame_ns: int | None = None
        self._image_ns: int | None = None
        self._failed = 0

    def turn(self, now_ns: int) -> None:
        """The loop begins another turn, or goes on after a warm-up."""
        self._turned_ns = now_ns
        self._warming = False

    def warming(self, now_ns: int) -> None:
        """The engine warms up, which may take long; until `turn`."""
        self._turned_ns = now_ns
        self._warming = True

    def frame(self, now_ns: int) -> None:
        """A well-formed frame came."""
        self._frame_ns = now_ns

    def image(self, now_ns: int) -> None:
        """An image was published."""
        self._image_ns = now_ns
        self._failed = 0

    def failed(self, now_ns: int) -> None:
        """The engine failed at a pair."""
        self._failed += 1

    def report(self, now_ns: int) -> Report:
        """How it stands at `now_ns`; for any thread."""
        turn_age_s = _age_s(self._turned_ns, now_ns)
        frame_age_s = None if self._frame_ns is None else _age_s(self._frame_ns, now_ns)
        image_age_s = None if self._image_ns is None else _age_s(self._image_ns, now_ns)
        failed = self._failed
        status, reason = self._judge(turn_age_s, frame_age_s, image_age_s, failed)
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
        if frame_age_s > rule.quiet_s:
            return "waiting", f"no frame for {frame_age_s:.0f} s"
        if warming:
            return "ok", f"the engine warms up, for {turn_age_s:.0f} s now"
        if image_age_s is None:
            return "ok", "no image yet"
        if image_age_s > rule.quiet_s:
            return "ok", f"frames come, but no image for {image_age_s:.0f} s"
        return "ok", ""


def _age_s(then_ns: int, now_ns: int) -> float:
    """Not below 0: another thread may have written since the time was read."""
    return max(now_ns - then_ns, 0) / 1e9
