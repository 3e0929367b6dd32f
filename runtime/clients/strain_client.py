"""A client of the live server: the newest strain image of each stream, and its age at the moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Generic, TypeVar

import zmq

from ..imaging.live_or_held import State
from ..protocol.age import Age, age_of, clock_id, now_ns
from ..protocol.strain_message import MAX_STRAIN_BYTES, StrainMessage
from ..transport.address import check_endpoint
from ..transport.keys import ClientKeys
from ..transport.lifecycle import POLL_MS, Service
from ..transport.receiver import Receiver

T = TypeVar("T")

MOST_STREAMS = 64
"""Beyond it the item that has waited longest is dropped: names of streams come from other machines."""


class NewestOfEach(Generic[T]):
    """A queue between two threads that holds the newest item of each stream and drops those before it."""

    def __init__(self) -> None:
        self._filled = threading.Condition()
        self._waiting: dict[str, T] = {}
        self.dropped = 0
        """Items that nobody took before a newer one of their stream came."""

    def put(self, item: T, stream: str) -> None:
        """Put `item` in the place of the one of its stream that still waits, or last."""
        with self._filled:
            if stream not in self._waiting and len(self._waiting) == MOST_STREAMS:
                del self._waiting[next(iter(self._waiting))]
                self.dropped += 1
            self.dropped += stream in self._waiting
            self._waiting[stream] = item
            self._filled.notify()

    def take(self, timeout_s: float) -> T | None:
        """The item of the stream that has waited longest; None when none came within `timeout_s`."""
        with self._filled:
            if not self._filled.wait_for(lambda: bool(self._waiting), timeout_s):
                return None
            return self._waiting.pop(next(iter(self._waiting)))


class StrainClient(Service):
    """Receives the strain images of a live server, the newest first, while inside its `with` block.

    It connects again by itself when the server was away, and may be opened before the server is there.

    Parameters
    ----------
    endpoint
        Where `usert serve --publish` sends images: `tcp://HOST:PORT` or `ipc://PATH`.
    stale_ms
        The age in milliseconds beyond which `image_state` calls an image stale.
    keys
        Keys of this client and its server, where the server asks for them.
    insecure
        Allow a server on another machine without keys, unencrypted.

    Raises
    ------
    usert.errors.OptionError
        For an endpoint that is malformed, or that other machines can reach without keys.

    Examples
    --------
    Nobody publishes at this endpoint, so no image comes in time:

    >>> from usert.runtime.clients.strain_client import StrainClient
    >>> with StrainClient("ipc:///tmp/usert-example") as client:
    ...     image = client.receive(timeout_s=0.1)
    ...     print(image, client.image_state)
    None stale

    With a server there, `for image in client: print(image.mean_strain, client.age)` goes on until `client.stop()`.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        stale_ms: float = 500.0,
        keys: ClientKeys | None = None,
        insecure: bool = False,
    ) -> None:
        super().__init__()
        self._endpoint = check_endpoint(endpoint, insecure=insecure, keyed=keys is not None)
        self._keys = keys
        self._stale_ms = stale_ms
        self._newest: NewestOfEach[tuple[StrainMessage, int]] = NewestOfEach()
        self._last: tuple[StrainMessage, int] | None = None
        """The image returned last, and when it arrived."""

    def _open(self, stack: ExitStack) -> None:
        context = stack.enter_context(zmq.Context())
        self._receiver: Receiver[StrainMessage] = Receiver(
            context=context,
            endpoint=self._endpoint,
            max_bytes=MAX_STRAIN_BYTES,
            decode=StrainMessage.from_parts,
            accept=lambda message, arrived_ns: self._newest.put((message, arrived_ns), message.stream),
            security=self._keys,
        )
        stack.enter_context(self._receiver)

    def receive(self, timeout_s: float | None = None) -> StrainMessage | None:
        """The newest image of a stream that was not returned before; waits for one.

        Where a server sends several streams, they take turns. None when none came in time, or after `stop()`.
        """
        with self._loop():
            deadline = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
            while not self.stopping:
                self._receiver.check()
                left_s = deadline - time.monotonic()
                taken = self._newest.take(max(0.0, min(left_s, POLL_MS / 1e3)))
                if taken is not None:
                    self._last = taken
                    return taken[0]
                if left_s <= 0:
                    return None
            return None

    def __iter__(self) -> Iterator[StrainMessage]:
        """Iterate over images as they arrive, until `stop()`."""
        while (message := self.receive()) is not None:
            yield message

    @property
    def age(self) -> Age | None:
        """Age, at the moment, of the image returned last; None before the first.

        Exact on the machine of the source, else a lower bound: `docs/protocol.md`, "Time and age".
        """
        return None if self._last is None else age_of(*self._last, now_ns(), clock_id())

    @property
    def image_state(self) -> State:
        """The state of the image returned last, but `stale` when it is too old or there is none."""
        age = self.age
        if age is None or self._last is None or age.ms > self._stale_ms:
            return "stale"
        return self._last[0].state

    @property
    def skipped(self) -> int:
        """Images that were dropped for newer ones of their streams."""
        return self._newest.dropped

    @property
    def obstacle(self) -> str:
        """Why no image has come yet: the endpoint, and what can be told of it, in words; empty where one has."""
        obstacle = self._receiver.obstacle
        return f"{self._endpoint}: {obstacle}" if obstacle else ""

    @property
    def malformed(self) -> dict[str, int]:
        """Messages that broke the protocol, by fault."""
        return self._receiver.malformed.counts
