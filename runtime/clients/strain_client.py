"""A client of the live server: the newest strain image of each stream, and how old it is by now.

Knows the protocol, not the server. Invariant: what is handed out is the newest image of its stream that had arrived,
however slowly the caller comes for it, and an image that is too old is called stale.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import zmq

from ..imaging.display_state import State
from ..protocol.age import Age, age_of, clock_id, now_ns
from ..protocol.strain_message import MAX_STRAIN_BYTES, StrainMessage
from ..transport.address import check_endpoint
from ..transport.keys import ClientKeys
from ..transport.lifecycle import POLL_MS, Service
from ..transport.receiver import Receiver
from .slot import Slot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Arrived:
    message: StrainMessage
    arrived_ns: int


class StrainClient(Service):
    """`with StrainClient(endpoint) as client: for message in client: ...`; connects again by itself."""

    def __init__(
        self,
        endpoint: str,
        *,
        stale_ms: float = 500.0,
        keys: ClientKeys | None = None,
        insecure: bool = False,
    ) -> None:
        """`stale_ms`: the watchdog; an image older than this is stale. `insecure`: other machines without keys."""
        super().__init__()
        self._endpoint = check_endpoint(endpoint, insecure=insecure, keyed=keys is not None)
        self._keys = keys
        self._stale_ms = stale_ms
        self._slot: Slot[_Arrived] = Slot()
        self._last: _Arrived | None = None

    def _open(self, stack: ExitStack) -> None:
        context = stack.enter_context(zmq.Context())
        self._receiver: Receiver[StrainMessage] = Receiver(
            context=context,
            endpoint=self._endpoint,
            socket_type="sub",
            bind=False,
            max_bytes=MAX_STRAIN_BYTES,
            decode=StrainMessage.from_parts,
            accept=lambda message, arrived_ns: self._slot.put(
                _Arrived(message=message, arrived_ns=arrived_ns), message.stream
            ),
            security=self._keys,
        )
        self._receiver.open()
        stack.callback(self._receiver.close)

    def receive(self, timeout_s: float | None = None) -> StrainMessage | None:
        """The newest image of a stream, not yet handed out; None when none came in time, or after `stop()`.

        Where a server sends several streams, they take turns.
        """
        with self._loop():
            deadline = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
            while not self.stopping:
                self._receiver.check()
                left_s = deadline - time.monotonic()
                taken = self._slot.take(max(0.0, min(left_s, POLL_MS / 1e3)))
                if taken is not None:
                    self._last = taken
                    return self._last.message
                if left_s <= 0:
                    return None
            return None

    def __iter__(self) -> Iterator[StrainMessage]:
        """Images as they come, until `stop()`."""
        while (message := self.receive()) is not None:
            yield message

    @property
    def age(self) -> Age | None:
        """Age by now of the image handed out last; None before the first.

        Exact on the machine of the source, else a lower bound: `docs/protocol.md`, "Time and age".
        """
        last = self._last
        return None if last is None else age_of(last.message, last.arrived_ns, now_ns(), clock_id())

    @property
    def image_state(self) -> State:
        """The state of the image handed out last, but `stale` when it is too old or there is none."""
        age = self.age
        return (
            "stale"
            if age is None or self._last is None or age.ms > self._stale_ms
            else self._last.message.state
        )

    @property
    def skipped(self) -> int:
        """Images that a newer one of their stream replaced before the caller came for them."""
        return self._slot.counts.dropped

    @property
    def malformed(self) -> dict[str, int]:
        """Messages that broke the protocol, by fault."""
        return self._receiver.malformed.counts
