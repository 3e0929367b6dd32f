"""All connected browsers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .picture import Picture
from .viewer import Viewer

MOST_VIEWERS = 32


class Viewers:
    """The connected browsers; use it in the event loop's thread only, except `watched`."""

    def __init__(self) -> None:
        self._all: set[Viewer] = set()
        self._newest: Picture | None = None
        self._said: dict[str, Any] = {}

    @property
    def full(self) -> bool:
        """Whether no further browser can connect."""
        return len(self._all) >= MOST_VIEWERS

    def watched(self) -> bool:
        """Whether any browser is connected. Safe in any thread."""
        return bool(self._all)

    def offer(self, picture: Picture) -> None:
        """Offer a new picture to all browsers."""
        self._newest = picture
        for viewer in self._all:
            viewer.offer(picture)

    def say(self, key: str, value: Any) -> None:
        """Send a text to all browsers, and to each that connects later."""
        if self._said.get(key) != value:
            self._said[key] = value
            for viewer in self._all:
                viewer.say(key, value)

    @contextmanager
    def joined(self, viewer: Viewer) -> Iterator[None]:
        """Count `viewer` among the connected browsers inside the `with` block."""
        self._all.add(viewer)
        for key, value in self._said.items():
            viewer.say(key, value)
        if self._newest is not None:
            viewer.offer(self._newest)
        try:
            yield
        finally:
            self._all.discard(viewer)
