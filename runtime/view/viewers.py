"""All browsers that watch now.

Knows viewers; of the event loop's thread but for `watched`. Invariant: at most `MOST_VIEWERS`, and one that comes later
is offered the newest picture at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .picture import Picture
from .viewer import Viewer

MOST_VIEWERS = 32


class Viewers:
    """`with viewers.joined(viewer):` while it is there."""

    def __init__(self) -> None:
        self._all: set[Viewer] = set()
        self._newest: Picture | None = None
        self._said: dict[str, Any] = {}

    @property
    def full(self) -> bool:
        """There is no room for another."""
        return len(self._all) >= MOST_VIEWERS

    def watched(self) -> bool:
        """Whether there is anybody. For any thread."""
        return bool(self._all)

    def offer(self, picture: Picture) -> None:
        """A new picture for everybody."""
        self._newest = picture
        for viewer in self._all:
            viewer.offer(picture)

    def say(self, key: str, value: Any) -> None:
        """A text for everybody, and for those to come."""
        if self._said.get(key) != value:
            self._said[key] = value
            for viewer in self._all:
                viewer.say(key, value)

    @contextmanager
    def joined(self, viewer: Viewer) -> Iterator[None]:
        """The viewer is one of all."""
        self._all.add(viewer)
        for key, value in self._said.items():
            viewer.say(key, value)
        if self._newest is not None:
            viewer.offer(self._newest)
        try:
            yield
        finally:
            self._all.discard(viewer)
