"""The rule when an image is held, the last good one shown again, and when images are live again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from usert.errors import OptionError, expect

from .image_quality import ImageQuality

State = Literal["live", "held", "stale", "idle"]
"""`live`: an image of this moment. `held`: the last good image again. `stale`: too old to be read as live.
`idle`: the probe is still, and there is no strain to see."""
Reason = Literal["", "quality", "still", "frozen"]
"""Why an image is not `live`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRule:
    """Limits at which an image is held, and at which it is live again, which takes more than staying live."""

    held_score: float = 0.4
    """Frame score below which the last good image is held: about half of the frame may not be read."""
    live_score: float = 0.5
    """Frame score at which images are live again."""
    moving_strain: float = 7e-4
    """Evident strain that ends stillness; it begins below `ImageQualityRule.still_strain`."""
    idle_after: int = 3
    """Still images after which the probe is at rest; until then the last good one is held, as at a turn."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_score <= self.live_score <= 1:
            raise OptionError(
                f"scores: got held {self.held_score:g}, live {self.live_score:g}, expected 0 <= held <= live <= 1"
            )
        expect(0 <= self.moving_strain < math.inf, "moving strain", f"{self.moving_strain:g}", "0 or more")
        expect(self.idle_after >= 0, "idle after", f"{self.idle_after} images", "0 or more")


class HoldControl:
    """The decision for each image of a session; `held` only where there is a good image to hold."""

    def __init__(self, rule: HoldRule | None = None) -> None:
        self.rule = rule or HoldRule()
        self._has_good = False
        self._poor = self._still = True
        self._still_images = self.rule.idle_after
        self.reason: Reason = ""
        """Why the last image is not `live`."""

    def step(self, image: ImageQuality) -> State:
        """The state to publish the newest image in."""
        rule = self.rule
        self._poor = image.score < (rule.live_score if self._poor else rule.held_score)
        if self._poor:
            self.reason = "quality"
            return "held" if self._has_good else "idle"
        self._still = image.evident_strain < rule.moving_strain if self._still else not image.moving
        if not self._still:
            self._still_images, self._has_good, self.reason = 0, True, ""
            return "live"
        self._still_images += 1
        self.reason = "still"
        return "held" if self._has_good and self._still_images <= rule.idle_after else "idle"
