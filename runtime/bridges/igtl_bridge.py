"""The outgoing bridge: strain images of a live server to OpenIGTLink clients, such as 3D Slicer.

To the server it is an ordinary viewer, so no OpenIGTLink client can affect the server. Invariant: the newest image is
sent at most once as it came, and once more blanked when it becomes stale; the status is sent at least every `STATUS_S`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from ..clients.image_source import ImageSource
from ..imaging.live_or_held import State
from ..protocol.age import age_of, clock_id, now_ns
from ..protocol.strain_message import StrainMessage
from ..transport.lifecycle import Service
from .igtl_broadcaster import Broadcaster
from .igtl_devices import BLANK_PERCENT, Devices, Packed, wall_of

STATUS_S = 0.5
_WAIT_S = 0.05
_REPORT_S = 1.0
_QUIET_NS = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig(ImageSource):
    """Source, destination and presentation of the images."""

    host: str = "127.0.0.1"
    port: int = 18944
    """The default is that of OpenIGTLink; 0 is any free one."""
    prefix: str = "usert"
    """Prefix of the devices' names."""
    blank_percent: float = BLANK_PERCENT
    """Strain that is sent for a pixel that must not be read."""


class IgtlBridge(Service):
    """Sends strain images to clients at `address` until `stop()`: `with IgtlBridge(config) as bridge: bridge.run()`."""

    def __init__(self, config: BridgeConfig, report: Callable[[str], None] = lambda line: None) -> None:
        """`report` is called with a line when the state changes, at most once a second."""
        super().__init__()
        self._config = config
        self._report = report
        self._devices = Devices(config.prefix, blank_percent=config.blank_percent)
        self._client = config.client()
        self._frames = config.frames()
        self.broadcaster = Broadcaster(config.host, config.port, insecure=config.insecure)
        self._stream = config.stream
        self._newest: tuple[StrainMessage, int] | None = None
        """The newest image and the time of its arrival, by `now_ns`."""
        self._shown: State = "stale"
        """The state in which the newest image was last sent."""
        self._reported = ""
        self.received = 0
        """Images of the stream received from the server."""
        self.sent = 0
        """Images sent on, while at least one client was connected."""

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self.broadcaster)
        if self._frames is not None:
            stack.enter_context(self._frames)
        stack.enter_context(self._client)
        self.address = self.broadcaster.address

    @property
    def skipped(self) -> int:
        """Images that were replaced by newer ones before the bridge read them."""
        return self._client.skipped

    def run(self) -> None:
        """Pass images on until `stop()`. Errors: whatever ended the thread that serves the clients."""
        with self._loop():
            status_s = report_s = time.monotonic()
            while not self.stopping:
                new = self._receive()
                now_s = time.monotonic()
                if new or now_s >= status_s:
                    self.broadcaster.offer(self._packed(new) if self.broadcaster.count else {})
                    status_s = now_s + STATUS_S
                if now_s >= report_s:
                    self._report_change()
                    report_s = now_s + _REPORT_S

    def _receive(self) -> bool:
        """Receive; whether a new image of the stream came."""
        message = self._client.receive(_WAIT_S)
        if message is None:
            return False
        self._stream = self._stream or message.stream
        if message.stream != self._stream:
            return False
        self._newest = message, now_ns()
        self.received += 1
        return True

    def _packed(self, new: bool) -> Packed:
        now_s = time.time()
        if self._newest is None:
            return self._devices.status(None, state="stale", age=None, wall_s=now_s)
        message, arrived_ns = self._newest
        read_ns = now_ns()
        age = age_of(message, arrived_ns, read_ns, clock_id())
        state: State = "stale" if age.ms > self._config.stale_ms else message.state
        packed: Packed = {}
        if new or (state == "stale" and self._shown != "stale"):
            reference = None
            if self._frames is not None and new:
                reference = self._frames.find(message.stream, message.reference)
            wall_s = wall_of(message, age, now_s)
            packed = self._devices.image(message, state=state, wall_s=wall_s, reference=reference)
            self._shown = state
            self.sent += new
        return packed | self._devices.status(message, state=state, age=age, wall_s=now_s, read_ns=read_ns)

    def _report_change(self) -> None:
        quiet = self._newest is None or now_ns() - self._newest[1] > _QUIET_NS
        line = f"clients {self.broadcaster.count}, {'no images' if quiet else 'images'} from {self._config.strain}"
        if line != self._reported:
            self._report(line + (", waiting" if quiet else ""))
            self._reported = line
