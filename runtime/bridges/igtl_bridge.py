"""The bridge out: strain images of a live server to OpenIGTLink clients, such as 3D Slicer.

Knows the client of the live server, devices and the audience. To the server it is one viewer like any other, so that
nothing an OpenIGTLink client does reaches it. Invariant: the newest image is sent at most once as it came, and once
more blanked when it has become stale; at least every `STATUS_S` clients are told how things are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from usert.errors import OptionError

from ..clients.rf_history import RecentFrames
from ..clients.strain_client import StrainClient
from ..imaging.display_state import State
from ..protocol.age import Age, age_of, clock_id, now_ns
from ..protocol.strain_message import StrainMessage
from ..transport.keys import ClientKeys
from ..transport.lifecycle import Service
from .igtl_audience import Audience
from .igtl_devices import BLANK_PERCENT, Devices, Packed, wall_of

STATUS_S = 0.5
_WAIT_S = 0.05
_TELL_S = 1.0
_QUIET_NS = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """From where, to where, and how it looks there."""

    strain: str
    """Where the server publishes."""
    rf: str | None = None
    """Where the RF frames are, for B-mode."""
    host: str = "127.0.0.1"
    port: int = 18944
    """That of OpenIGTLink; 0 is any free one."""
    prefix: str = "usert"
    """Of the devices' names."""
    stream: str = ""
    """Which stream; empty: the first that is heard."""
    stale_ms: float = 500.0
    blank_percent: float = BLANK_PERCENT
    """Strain of a pixel that must not be read."""
    keys: ClientKeys | None = None
    rf_keys: ClientKeys | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.stale_ms < float("inf"):
            raise OptionError(f"--stale-ms: got {self.stale_ms:g}, expected more than 0")


class IgtlBridge(Service):
    """`with IgtlBridge(config) as bridge: bridge.run()`, until `stop()`; `bridge.address` is where clients connect."""

    def __init__(self, config: BridgeConfig, say: Callable[[str], None] = lambda line: None) -> None:
        """`say` is told in a line what changes, at most once a second."""
        super().__init__()
        self._config = config
        self._say = say
        self._devices = Devices(config.prefix, blank_percent=config.blank_percent)
        self._client = StrainClient(
            config.strain, stale_ms=config.stale_ms, keys=config.keys, insecure=config.insecure
        )
        self._frames = None
        if config.rf is not None:
            self._frames = RecentFrames(config.rf, keys=config.rf_keys, insecure=config.insecure)
        self.audience = Audience(config.host, config.port, insecure=config.insecure)
        self._stream = config.stream
        self._newest: tuple[StrainMessage, int] | None = None
        """And when it arrived, by `now_ns`."""
        self._shown: State = "stale"
        """As what the clients have the newest image."""
        self._told = ""
        self.received = 0
        """Images of the stream that came from the server."""
        self.sent = 0
        """Of these, images offered to clients: those that came while somebody was here."""

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self.audience)
        if self._frames is not None:
            stack.enter_context(self._frames)
        stack.enter_context(self._client)
        self.address = self.audience.address

    @property
    def skipped(self) -> int:
        """Images that a newer one replaced before this side was free."""
        return self._client.skipped

    def run(self) -> None:
        """Pass images on. Errors: whatever ended the thread that serves the clients."""
        with self._loop():
            status_s = tell_s = time.monotonic()
            while not self.stopping:
                new = self._receive()
                now_s = time.monotonic()
                if new or now_s >= status_s:
                    self.audience.offer(self._packed(new) if self.audience.count else {})
                    status_s = now_s + STATUS_S
                if now_s >= tell_s:
                    self._tell()
                    tell_s = now_s + _TELL_S

    def _receive(self) -> bool:
        """Whether a new image of the stream is there."""
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
        age = age_of(message, arrived_ns, now_ns(), clock_id())
        state = self._state_at(age)
        packed: Packed = {}
        if new or (state == "stale" and self._shown != "stale"):
            reference = None
            if self._frames is not None and new:
                reference = self._frames.find(message.stream, message.reference)
            wall_s = wall_of(message, age, now_s)
            packed = self._devices.image(message, state=state, wall_s=wall_s, reference=reference)
            self._shown = state
            self.sent += new
        return packed | self._devices.status(message, state=state, age=age, wall_s=now_s)

    def _state_at(self, age: Age) -> State:
        if self._newest is None or age.ms > self._config.stale_ms:
            return "stale"
        return self._newest[0].state

    def _tell(self) -> None:
        quiet = self._newest is None or now_ns() - self._newest[1] > _QUIET_NS
        told = (
            f"clients {self.audience.count}, {'no images' if quiet else 'images'} from {self._config.strain}"
        )
        if told != self._told:
            self._say(told + (", waiting" if quiet else ""))
            self._told = told
