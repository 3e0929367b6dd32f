"""A sender of RF or IQ frames to a live server: the other end of its `--rf` socket, in a scanner's own program.

Invariant: `send` never waits for a receiver, and every frame that it was called for has a sequence number of its own,
so that a receiver can count those that were dropped.
"""

from __future__ import annotations

import operator
import time
from contextlib import ExitStack
from typing import Any, Literal, Self, TypeVar, get_args

import numpy as np
import zmq
from numpy.typing import ArrayLike, NDArray

from usert.errors import FrameError, OptionError, expect
from usert.frame import RFFrame, Scan

from ..protocol.age import clock_id, now_ns
from ..protocol.header import MAX_AXIAL, MAX_LINES, MAX_PIXELS, SCALARS, Buffer
from ..protocol.rf_message import RFMessage
from ..transport.access import Authenticator
from ..transport.address import check_endpoint
from ..transport.keys import Keys, ServerKeys
from ..transport.lifecycle import POLL_MS, Service
from ..transport.socket import make_socket

T = TypeVar("T", int, str)
SenderType = Literal["pub", "push"]
_QUEUE_FRAMES = 2
_LINGER_MS = 1000
_SUBSCRIPTION_BYTES = 1024
_SUBSCRIPTIONS_A_FRAME = 16
_BEGINNING = b'{"usert":1,"kind":"rf"'
"""How each header begins: a subscription to a prefix of it is one to the frames."""


class FrameSender(Service):
    """Sends RF or IQ frames to a live server, inside its `with` block or from `open()` to `close()`.

    A frame that no receiver has room for is dropped and counted: `send` never waits. The connection is made again by
    itself when the server was away, and the sender may be opened before the server. Any thread may call any method;
    calls wait for one another.

    Parameters
    ----------
    endpoint
        Where frames leave: `tcp://HOST:PORT` or `ipc://PATH`, the `--rf` of `usert serve`. Port 0 is any free one;
        `sender.endpoint` has the real one.
    scan
        Geometry and frequencies of the frames: sampling frequency, centre frequency, sound speed, line pitch, and of
        IQ the demodulation frequency. None: each call of `send` states it.
    stream
        Name of this scanner, up to 256 characters; two senders to one server have different ones.
    socket_type
        `pub` for any number of receivers, or `push` for one server with `--rf-type pull`.
    bind
        Whether to bind `endpoint`, to which the server connects; False: connect to a server with `--rf-bind`.
    clock
        Name of the clock behind `time_ns`; None for the monotonic clock of this machine, `time.monotonic_ns()`.
    keys
        `ServerKeys` where it binds, `ClientKeys` where it connects; None for no encryption.
    insecure
        Allow an endpoint that other machines can reach without keys, unencrypted.

    Raises
    ------
    usert.errors.OptionError
        For an endpoint that is malformed, cannot be bound, or that other machines can reach without keys, and for keys
        of the other side.

    Examples
    --------
    Nobody receives at this endpoint, so the frame is dropped:

    >>> import numpy as np
    >>> from usert.frame import Scan
    >>> from usert.runtime.clients.frame_sender import FrameSender
    >>> scan = Scan(fs_hz=40e6, f0_hz=6.4e6, sound_speed_m_s=1540, line_pitch_mm=0.3)
    >>> with FrameSender("ipc:///tmp/usert-example-rf", scan, stream="my-scanner") as sender:
    ...     sender.send(np.zeros((512, 128), np.int16))
    ...     print(sender.sent, sender.dropped)
    False
    0 1
    """

    def __init__(
        self,
        endpoint: str,
        scan: Scan | None = None,
        *,
        stream: str = "scanner",
        socket_type: SenderType = "pub",
        bind: bool = True,
        clock: str | None = None,
        keys: Keys | None = None,
        insecure: bool = False,
    ) -> None:
        super().__init__()
        self.endpoint = check_endpoint(endpoint, insecure=insecure, keyed=keys is not None)
        """Where the socket is; once it is open with the real port, where port 0 was asked for."""
        if keys is not None and isinstance(keys, ServerKeys) != bind:
            raise OptionError(
                f"keys: got {type(keys).__name__}, expected ServerKeys to bind, ClientKeys to connect"
            )
        expect(socket_type in get_args(SenderType), "socket type", f"{socket_type!r}", "'pub' or 'push'")
        self.scan = scan
        """Geometry of the frames for which `send` is given none."""
        self.stream = _checked("stream", stream, str)
        """Name of this scanner."""
        self.clock = clock_id() if clock is None else _checked("clock", clock, str)
        """Name of the clock behind `time_ns`."""
        self._publishes = socket_type == "pub"
        self._bind = bind
        self._keys = keys
        self._receivers = 0
        """Subscriptions to the frames at the socket `_seen`; not known of a PUSH socket."""
        self._seen: zmq.Socket[bytes] | None = None
        self._sequence = 0
        self.sent = 0
        """Frames that were handed to a receiver's queue."""
        self.dropped = 0
        """Frames without a receiver, or with a single one that was slow.

        What one of several receivers misses is known to that one alone: a server counts it as `lost`.
        """

    def open(self) -> Self:
        """Bind or connect, for a program without a `with` block; returns the sender.

        Errors: `OptionError` for an endpoint or keys that cannot be used.
        """
        return self.__enter__()

    def close(self) -> None:
        """Close the sender for good, after at most a second for frames that are still under way. Idempotent."""
        self.__exit__()

    def send(
        self,
        samples: ArrayLike,
        scan: Scan | None = None,
        *,
        sequence: int | None = None,
        time_ns: int | None = None,
        acquired_ns: int | None = None,
        copy: bool = True,
    ) -> bool:
        """Send one frame, or drop it; never waits for a receiver.

        Parameters
        ----------
        samples
            Axial samples by scan lines, row 0 nearest the probe. RF: (N, M) int16, float32 or float64, which is sent
            as float32. IQ: (N, M) complex, or (N, M, 2) in-phase and quadrature. Need not be contiguous. NaN is not
            searched for: the server rejects the pair and counts it.
        scan
            Geometry of this frame, where it is not that of the sender.
        sequence
            The scanner's own count of frames, where it has one; None: one more than the frame before, sent or dropped.
        time_ns
            When the frame was complete, by `clock`; None: now. 0 where it is not known.
        acquired_ns
            The same moment by the wall clock, in nanoseconds since 1970; None: now. 0 where it is not known.
        copy
            Whether `samples` may be changed after the call, as a scanner's buffer is. False saves the copy; then they
            must stay as they are until the frame has left, which nothing tells.

        Returns
        -------
        bool
            Whether the frame was handed to a receiver's queue; False: it was dropped, and counted.

        Raises
        ------
        usert.errors.FrameError
            For samples of another type or shape, and for IQ without `demodulation_hz`; the frame is not counted.
        usert.errors.OptionError
            For a count or time below 0 or above 2^63 - 1; the frame is not counted.
        """
        with self._loop():
            arrived_ns = now_ns()
            scan = self.scan if scan is None else scan
            if scan is None:
                raise ValueError("send: got no scan, expected one here or in FrameSender")
            array = _frame_samples(samples)
            number = (
                self._sequence if sequence is None else _checked("sequence", operator.index(sequence), int)
            )
            frame = RFFrame(
                samples=array,
                scan=scan,
                sequence=number,
                time_ns=arrived_ns if time_ns is None else _checked("time_ns", operator.index(time_ns), int),
                acquired_ns=time.time_ns()
                if acquired_ns is None
                else _checked("acquired_ns", operator.index(acquired_ns), int),
            )
            _check_size(frame)
            self._sequence = number + 1
            self._socket.renew()
            self._count_receivers()
            message = RFMessage(frame=frame, stream=self.stream, clock=self.clock)
            copy = copy and np.may_share_memory(array, np.asarray(samples))
            taken = bool(self._receivers or not self._publishes) and self._put(message.to_parts(), copy=copy)
            self.sent += taken
            self.dropped += not taken
            return taken

    def wait_for_receiver(self, timeout_s: float) -> bool:
        """Wait until a receiver is there, and with `push` has room; whether that was so within `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while not self.stopping:
            with self._loop():
                self._socket.renew()
                self._count_receivers()
                left_ms = round(max(0, min(POLL_MS, 1e3 * (deadline - time.monotonic()))))
                event = zmq.POLLIN if self._publishes else zmq.POLLOUT
                if self._receivers or (self._socket.socket.poll(left_ms, event) and not self._publishes):
                    return True
                if left_ms == 0:
                    return False
        return False

    def _open(self, stack: ExitStack) -> None:
        context = stack.enter_context(zmq.Context())
        authenticator = stack.enter_context(Authenticator(context, rf=self._keys))
        options: dict[int, int | bytes] = {
            zmq.LINGER: _LINGER_MS,
            zmq.SNDHWM: _QUEUE_FRAMES,
            zmq.MAXMSGSIZE: _SUBSCRIPTION_BYTES,
            zmq.IMMEDIATE: 1,
        }
        if self._publishes:
            options[zmq.XPUB_VERBOSER] = 1  # or it tells of the first subscription and the last alone
        self._socket = stack.enter_context(
            make_socket(
                context,
                zmq.XPUB if self._publishes else zmq.PUSH,  # XPUB is PUB that also says who subscribes
                self.endpoint,
                bind=self._bind,
                security=authenticator.security("rf"),
                options=options,
            )
        )
        self.endpoint = self._socket.endpoint

    def _put(self, parts: list[Buffer], *, copy: bool) -> bool:
        try:
            self._socket.socket.send_multipart(parts, zmq.NOBLOCK, copy=copy)
        except zmq.Again:
            return False
        return True

    def _count_receivers(self) -> None:
        """Read subscriptions, only a few at a time, so that sending goes on whoever sends them."""
        if not self._publishes:
            return
        socket = self._socket.socket
        if socket is not self._seen:  # it was renewed
            self._seen, self._receivers = socket, 0
            self._set_lossless()
        before = self._receivers
        for _ in range(_SUBSCRIPTIONS_A_FRAME):
            if not socket.poll(0):
                break
            message = socket.recv()
            if message[:1] in (b"\0", b"\1") and _BEGINNING.startswith(message[1:]):
                self._receivers += 1 if message[0] else -1
        if self._receivers != before:
            self._set_lossless()

    def _set_lossless(self) -> None:
        """Let ZeroMQ refuse a frame for a single receiver that is slow; of several none may hold the others up."""
        self._socket.socket.setsockopt(zmq.XPUB_NODROP, int(self._receivers <= 1))


def _frame_samples(samples: ArrayLike) -> NDArray[Any]:
    """`samples`, complex ones as in-phase and quadrature on a last axis, float64 as float32."""
    array = np.asarray(samples)
    if np.iscomplexobj(array):
        expect(array.ndim == 2, "frame samples", f"shape {array.shape}", "(N, M)", error=FrameError)
        return np.ascontiguousarray(array, np.complex64).view(np.float32).reshape(*array.shape, 2)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _check_size(frame: RFFrame) -> None:
    n, m = frame.shape
    fits = n <= MAX_AXIAL and m <= MAX_LINES and n * m <= MAX_PIXELS
    limits = f"at most {MAX_AXIAL} axial samples, {MAX_LINES} scan lines and {MAX_PIXELS} of both"
    expect(fits, "frame samples", f"shape {frame.samples.shape}", limits, error=FrameError)


def _checked(what: str, value: T, kind: type[T]) -> T:
    """`value`, where a header may hold it. Errors: `OptionError`."""
    rule = SCALARS[kind]
    expect(rule.holds(value), what, f"{value!r:.80}", rule.expected)
    return value
