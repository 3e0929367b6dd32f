"""Configuration of a live server. Invariant: one that contradicts itself, or is unsafe, cannot be made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import combinations

from usert.errors import OptionError, expect

from ..imaging.image_quality import ImageQualityRule
from ..imaging.lag import LagRule
from ..imaging.live_or_held import HoldRule
from ..imaging.pairing import PairingRule
from ..imaging.persistence import PersistenceRule
from ..imaging.strain_ratio import Rectangle
from ..transport.address import check_endpoint, same_endpoint
from ..transport.keys import Keys, ServerKeys
from ..transport.receiver import ReceiverType

MAX_QUEUE = 256
"""Largest `every_frame`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Endpoints, keys and rules of a live server. Errors: `OptionError`."""

    rf: str | tuple[str, ...]
    """Endpoint or endpoints of RF frames; each source has a stream name of its own."""
    publish: str
    """Endpoint that clients connect to."""
    rf_type: ReceiverType = "sub"
    rf_bind: bool = False
    """Bind the RF endpoints instead of connecting to them."""
    every_frame: int | None = None
    """Number of frames of each source that may wait for the engine; None: the newest alone, older ones are dropped."""
    rows: tuple[int, int] | None = None
    """Samples of the depth axis that are used, first and one past the last; None: all."""
    insecure: bool = False
    """Allow endpoints beyond this machine without keys."""
    keys: ServerKeys | None = None
    """Keys of the clients that may see images."""
    rf_keys: Keys | None = None
    """Keys of the sources that are accepted: `ServerKeys` if the RF sockets bind, else `ClientKeys`."""
    control: str | None = None
    """Endpoint of commands; None: there is none."""
    control_keys: ServerKeys | None = None
    """Keys of the clients that may send commands."""
    pairing: PairingRule = field(default_factory=PairingRule)
    lag: LagRule | None = None
    """How the lag follows the motion; None: it is always that of `pairing`."""
    quality_rule: ImageQualityRule = field(default_factory=ImageQualityRule)
    hold: HoldRule = field(default_factory=HoldRule)
    persistence: PersistenceRule = field(default_factory=lambda: PersistenceRule(weight=0.0))
    rectangles: tuple[Rectangle, Rectangle] | None = None
    """Target and background of the strain ratio in every stream, until a command changes them."""
    deadline_ms: float = 200.0
    """Age at publication beyond which a live image has missed its deadline."""

    def __post_init__(self) -> None:
        expect(self.rf_type in ("sub", "pull"), "rf type", f"{self.rf_type!r}", "'sub' or 'pull'")
        expect(bool(self.rf_endpoints), "rf", "no endpoint", "one or more")
        for endpoint in self.rf_endpoints:
            check_endpoint(endpoint, insecure=self.insecure, keyed=self.rf_keys is not None)
        check_endpoint(self.publish, insecure=self.insecure, keyed=self.keys is not None)
        if self.control is not None:
            check_endpoint(self.control, insecure=self.insecure, keyed=self.control_keys is not None)
        self._check_apart()
        if self.every_frame is not None and not 1 <= self.every_frame <= MAX_QUEUE:
            raise OptionError(f"every frame: got a queue of {self.every_frame}, expected 1 to {MAX_QUEUE}")
        if self.rows is not None and not 0 <= self.rows[0] < self.rows[1]:
            first, end = self.rows
            raise OptionError(f"rows: got {first}:{end}, expected a:b with 0 <= a < b")
        expect(0 < self.deadline_ms < math.inf, "deadline", f"{self.deadline_ms:g} ms", "more than 0")

    def _check_apart(self) -> None:
        """Check that no two endpoints are the same; a socket that connects to its own server fails later, or never."""
        used = [("rf", endpoint) for endpoint in self.rf_endpoints] + [("publish", self.publish)]
        used += [] if self.control is None else [("control", self.control)]
        for (first, there), (option, endpoint) in combinations(used, 2):
            if same_endpoint(there, endpoint):
                raise OptionError(
                    f"{option}: got {endpoint}, the same endpoint as {first} {there}, expected one of its own"
                )

    @property
    def rf_endpoints(self) -> tuple[str, ...]:
        """All endpoints of RF frames."""
        return (self.rf,) if isinstance(self.rf, str) else self.rf

    @property
    def kept(self) -> int:
        """Number of frames before the newest that are kept for pairing."""
        return self.pairing.kept(None if self.lag is None else self.lag.most)
