"""A server at work with all that a fault may befall: scanner, connections, viewer, record; and its counts at the end.

Knows the processes, not the faults. Invariant: at the end of the `with` block all processes are gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from live_server import LiveServer, books
from observer import Observer, SeenImage
from relay import relaying
from source_process import SourceConfig, SourceProcess

from usert.runtime.protocol.age import now_ns

RATE_HZ = 10.0
SHAPES = (256, 64), (240, 48)
OPTIONS = ["--lag", "1", "--threads", "1"]
_STEADY_IMAGES = 10
_AGAIN_S = 60.0


class Stage:
    """`with Stage() as stage:`; images come when it is entered. `cut`: the end, `rf` or `viewer`, that gets a relay."""

    def __init__(self, arguments: Sequence[str] = (), *, cut: str = "", **endpoints: str) -> None:
        """`arguments`: those of `usert serve`; `endpoints`: `rf` and `publish`, if not free ports."""
        self._arguments = [*OPTIONS, *arguments]
        self._endpoints = endpoints
        self._cut = cut
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stack = stack
            self.server = stack.enter_context(LiveServer(self._arguments, **self._endpoints))
            rf, publish = self.server.rf, self.server.publish
            if self._cut:
                self.relay = stack.enter_context(relaying(rf if self._cut == "rf" else publish))
                between = self.relay.endpoint
                rf, publish = (between, publish) if self._cut == "rf" else (rf, between)
            self.source = self.add_source(rf)
            self.viewer = stack.enter_context(Observer(publish))
            self.source.order(rate_hz=RATE_HZ)
            self.steady()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add_source(self, rf: str) -> SourceProcess:
        """A scanner that rests."""
        return self._stack.enter_context(
            SourceProcess(SourceConfig(endpoint=rf, shapes=SHAPES, frames="press"))
        )

    def add(self, what: Any) -> Any:
        """Enter a context that ends with the stage."""
        return self._stack.enter_context(what)

    def steady(self) -> SeenImage:
        """Until some live images have come in a row; the last."""
        since = len(self.viewer.seen)
        for _ in range(_STEADY_IMAGES):
            self.viewer.wait(lambda image: image.state == "live", since=since, timeout_s=120)
            since = len(self.viewer.seen)
        return self.viewer.seen[-1]

    def again(self, since_ns: int, wanted: Callable[[SeenImage], bool] = lambda image: True) -> float:
        """Milliseconds from `since_ns` until a live image of a frame received later came, which is `wanted`."""
        image = self.viewer.wait(
            lambda image: image.state == "live" and image.received_ns > since_ns and wanted(image),
            timeout_s=_AGAIN_S,
        )
        return (image.arrived_ns - since_ns) / 1e6

    def pause(self, seconds: float) -> int:
        """Let the fault last; the time of its end."""
        time.sleep(seconds)
        return now_ns()

    def close_books(self, sources: Sequence[SourceProcess], **expected: int | range) -> dict[str, Any]:
        """End scanners and server; columns that say whether its counts are `expected`, or among them, and balance.

        `sources`: all whose frames are known to have been sent, or none.
        """
        self.source.rest()
        self.viewer.rest(1.0)
        counts = self.server.end()
        expected = {"failed": 0, "malformed": 0, **expected}
        if sources:
            sent = sum(source.sent.frames for source in sources)
            expected["received and lost"] = sent
        found = counts | {"received and lost": counts["received"] + counts["lost"]}
        wrong = [
            f"{key} {found[key]}, expected {n}"
            for key, n in expected.items()
            if found[key] not in (n if isinstance(n, range) else (n,))
        ]
        if not books(counts):
            wrong.append("books do not balance")
        shown = ("received", "lost", "dropped", "unpaired", "failed", "sessions", "images")
        return {
            "counters": ", ".join(f"{key} {counts[key]}" for key in shown),
            "right": "; ".join(wrong) or "yes",
        }
