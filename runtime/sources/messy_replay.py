"""A replay that misbehaves as a scanner may: for trying a server, a bridge or a page.

Invariant: frames are due as in any replay; only what is sent then differs.
"""

from __future__ import annotations

from typing import cast

from usert.errors import expect
from usert.frame import RFFrame

from ..clients.frame_sender import FrameSender
from ..protocol.header import Buffer
from .mess import Mess
from .replay import Frames, Replay, ReplayConfig

LEAST_HZ = 2.0
"""Least frames a second: a server takes a frame that was held back by more than a second for a jump of the clock, and
images need two frames within a second."""


class _AnySender(FrameSender):
    """A sender of frames, and of messages that are none."""

    def send_parts(self, parts: list[Buffer]) -> bool:
        """Send any `parts`, or drop them; never waits."""
        with self._loop():
            return self._put(parts, copy=True)


class MessyReplay(Replay):
    """Sends what `mess` makes of the frames, each when it is due; `mess.expected` has what was handed to the socket.

    With `push` nothing is dropped on the way, and what the server counts is exactly what is expected.
    """

    _sender_kind = _AnySender

    def __init__(self, frames: Frames, config: ReplayConfig, mess: Mess) -> None:
        """Errors: `OptionError` for a rate below `LEAST_HZ`, and those of `Replay`."""
        expect(
            config.rate_hz >= LEAST_HZ,
            "--rate with --mess",
            f"{config.rate_hz:g} Hz",
            f"{LEAST_HZ:g} or more: of slower frames a server counts those held back as jumps of the clock",
        )
        super().__init__(frames, config)
        self.mess = mess

    def _put(self, frame: RFFrame, sequence: int, time_ns: int) -> None:
        for step in self.mess.tick(frame, time_ns, first=sequence == 0):
            if step == "restart":
                self._sender.close()
                self._sender = self._make_sender(self.endpoint).open()
                continue
            if not self._wait_for_receiver():
                return
            sender = cast(_AnySender, self._sender)
            if isinstance(step, RFFrame):
                taken = sender.send(
                    step.samples,
                    step.scan,
                    sequence=step.sequence,
                    time_ns=step.time_ns,
                    acquired_ns=step.acquired_ns,
                    copy=False,
                )
                self.mess.expected["received" if taken else "lost"] += 1
            elif not sender.send_parts(step):
                self.mess.expected["malformed"] -= 1
