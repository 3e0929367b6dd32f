"""The last RF frames of a source, among which is the reference frame of the newest image.

Invariant: never more than `MOST_FRAMES` frames and `MOST_BYTES` of samples are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import ExitStack

import zmq

from usert.frame import RFFrame

from ..imaging.frames import FrameStamp
from ..protocol.rf_message import MAX_RF_BYTES, RFMessage, rf_decoder
from ..transport.address import check_endpoint
from ..transport.keys import ClientKeys
from ..transport.lifecycle import Service
from ..transport.receiver import Receiver

MOST_FRAMES = 128
MOST_BYTES = 1 << 28

_Key = tuple[str, int, int]


class RecentFrames(Service):
    """Receives RF frames while it is open, and finds the frame that an image was made from."""

    def __init__(
        self,
        endpoint: str,
        *,
        rows: tuple[int, int] | None = None,
        keys: ClientKeys | None = None,
        insecure: bool = False,
    ) -> None:
        """`rows`: samples along depth to keep, as the server cuts them; None: all.

        Errors: `OptionError` for an endpoint beyond this machine without keys, unless `insecure`.
        """
        super().__init__()
        self._endpoint = check_endpoint(endpoint, insecure=insecure, keyed=keys is not None)
        self._keys = keys
        self._rows = rows
        self._lock = threading.Lock()
        self._frames: OrderedDict[_Key, RFFrame] = OrderedDict()
        self._bytes = 0

    def _open(self, stack: ExitStack) -> None:
        context = stack.enter_context(zmq.Context())
        stack.enter_context(
            Receiver(
                context=context,
                endpoint=self._endpoint,
                socket_type="sub",
                bind=False,
                max_bytes=MAX_RF_BYTES,
                decode=rf_decoder(self._rows),
                accept=self._accept,
                security=self._keys,
            )
        )

    def _accept(self, message: RFMessage, arrived_ns: int) -> None:
        frame = message.frame
        with self._lock:
            replaced = self._frames.pop((message.stream, frame.sequence, frame.time_ns), None)
            self._frames[message.stream, frame.sequence, frame.time_ns] = frame
            self._bytes += frame.samples.nbytes - (0 if replaced is None else replaced.samples.nbytes)
            while len(self._frames) > MOST_FRAMES or self._bytes > MOST_BYTES:
                self._bytes -= self._frames.popitem(last=False)[1].samples.nbytes

    def find(self, stream: str, stamp: FrameStamp) -> RFFrame | None:
        """The frame of `stream` with this sequence number and time; None when it is not among the last."""
        with self._lock:
            return self._frames.get((stream, stamp.sequence, stamp.time_ns))
