"""Where a viewer takes strain images from, and the RF frames that they were made from."""

from __future__ import annotations

from dataclasses import dataclass

from usert.errors import expect

from ..transport.keys import ClientKeys
from .rf_history import RecentFrames
from .strain_client import StrainClient


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Source of strain images, and of RF frames for B-mode beside them."""

    strain: str
    """Address at which the server publishes."""
    rf: str | None = None
    """Address of the RF frames, for B-mode; None: no B-mode."""
    rows: tuple[int, int] | None = None
    """Samples of the RF frames along depth, as the server cuts them; None: all."""
    stream: str = ""
    """Name of the stream; empty: the first that is received."""
    stale_ms: float = 500.0
    keys: ClientKeys | None = None
    rf_keys: ClientKeys | None = None
    insecure: bool = False
    """Whether endpoints on other machines may be used without keys."""

    def __post_init__(self) -> None:
        expect(0 < self.stale_ms < float("inf"), "--stale-ms", f"{self.stale_ms:g}", "more than 0")

    def client(self) -> StrainClient:
        """A client of the images, not yet open. Errors: `OptionError`, as `StrainClient`."""
        return StrainClient(self.strain, stale_ms=self.stale_ms, keys=self.keys, insecure=self.insecure)

    def frames(self) -> RecentFrames | None:
        """The RF frames, not yet open; None without `rf`. Errors: `OptionError`, as `RecentFrames`."""
        if self.rf is None:
            return None
        return RecentFrames(self.rf, rows=self.rows, keys=self.rf_keys, insecure=self.insecure)
