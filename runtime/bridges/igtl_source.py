"""The incoming bridge: RF or IQ frames of an OpenIGTLink sender, such as PLUS, to `usert serve`.

Invariant: an image that is not an RF frame is counted and logged once a kind, a lost sender is reconnected, and neither
ends the bridge.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event
from typing import Any

from numpy.typing import NDArray

from usert.errors import OptionError, WireError
from usert.frame import Scan
from usert.log_format import printable
from usert.signal_check import LINES_FIRST, AxesWatch, check_signal

from ..clients.frame_sender import FrameSender
from ..protocol.age import now_ns
from ..protocol.header import MalformedError
from ..transport.address import parse_address, require_loopback
from ..transport.fault_counter import FaultCounter
from ..transport.keys import ServerKeys
from ..transport.lifecycle import POLL_MS, Service
from .igtl_frames import FrameReader, ImageReading
from .igtl_library import require_pyigtl
from .igtl_reader import connect, messages
from .igtl_tracked_frame import MESSAGE_TYPE, read_tracked_frame
from .relay import frame_line

_AGAIN_S = 1.0
_MOST_NS = 1 << 63

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Source, geometry and destination of the frames."""

    receive: str
    """HOST:PORT of the OpenIGTLink server."""
    publish: str
    """Address to bind, for `usert serve --rf`."""
    reading: ImageReading
    device: str = ""
    """Name of the device; empty: the first whose image is an RF frame."""
    stream: str = ""
    """Name of the stream; empty: that of the device."""
    keys: ServerKeys | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        host, _ = self.sender
        require_loopback(
            host,
            f"--receive: got {self.receive!r}, which is another machine, and OpenIGTLink is not encrypted: use an "
            "SSH tunnel",
            insecure=self.insecure,
        )

    @property
    def sender(self) -> tuple[str, int]:
        """Host and port of the sender. Errors: `OptionError`."""
        host, port = parse_address(self.receive, name="--receive")
        if port == 0:
            raise OptionError(f"--receive: got {self.receive!r}, expected HOST:PORT with a port from 1 on")
        return host, port


class IgtlSource(Service):
    """Publishes frames at `endpoint`: `with IgtlSource(config) as source: source.run()`, until `stop()`."""

    def __init__(self, config: SourceConfig, report: Callable[[str], None] = lambda line: None) -> None:
        """`report` is called with a line when the state changes.

        Errors: `MissingExtraError` without pyigtl; `OptionError` for an address to bind that other machines can reach
        without keys, unless `insecure`.
        """
        super().__init__()
        require_pyigtl()
        self._sender = FrameSender(config.publish, keys=config.keys, insecure=config.insecure)
        self._config = config
        self._report = report
        self._reported = ""
        self._reader = FrameReader(config.reading)
        self._taken: tuple[str, str] | None = None
        """Type of message and device of the frames that are passed on, once one was."""
        self._seen: tuple[Any, ...] = ()
        self._judged = False
        """Whether the samples of this geometry were looked at."""
        self._axes: AxesWatch | None = None
        """Of samples that were found to be IQ."""
        self.sent = 0
        """Frames sent so far."""
        self.refused = FaultCounter(log, "not an RF frame")
        """Rejected images, by kind."""

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self._sender)
        self.endpoint = self._sender.endpoint

    def run(self) -> None:
        """Pass frames on until `stop()`; reconnects after errors."""
        with self._loop():
            while not self.stopping:
                try:
                    with connect(*self._config.sender) as connection:
                        self._follow(connection)
                except (OSError, WireError) as error:
                    reason = getattr(error, "strerror", None) or error
                    self._report_change(f"waiting for {self._config.receive}: {reason}")
                    self._rest()

    def _follow(self, connection: socket.socket) -> None:
        for count, message in enumerate(messages(connection)):
            if count == 0:  # it may be no OpenIGTLink at all
                self._report_change(f"connected to {self._config.receive}")
            if self.stopping:
                return
            self.refused.log_repeated()
            if message is not None:
                self._take(*message)

    def _take(self, fields: dict[str, Any], body: bytes) -> None:
        arrived_ns = now_ns()
        device = printable(fields["device_name"])
        of = fields["message_type"], device
        if of[0] not in ("IMAGE", MESSAGE_TYPE) or device != (self._config.device or device):
            return
        if of != (self._taken or of):
            return
        name = f"device {device}" if device else of[0]
        try:
            image = read_tracked_frame(fields, body) if of[0] == MESSAGE_TYPE else _image(fields, body)
            samples, scan = self._reader.read(image)
        except MalformedError as error:
            self.refused.add(error.fault, f"{name}: {error}")
            return
        except (ValueError, LookupError, TypeError, struct.error, NotImplementedError) as error:
            self.refused.add("image", f"{name}: got an image that cannot be read: {error}")
            return
        self._taken = of
        self._note(name, samples.shape, scan)
        self._look(name, samples, scan, arrived_ns)
        acquired_ns = round(1e9 * image.timestamp)
        self._sender.stream = self._config.stream or device or "igtl"
        self._sender.send(
            samples,
            scan,
            time_ns=arrived_ns,
            acquired_ns=acquired_ns if acquired_ns < _MOST_NS else 0,
            copy=False,
        )
        self.sent += 1

    def _note(self, name: str, shape: tuple[int, ...], scan: Scan) -> None:
        if self._seen != (shape, scan):
            self._seen, self._judged, self._axes = (shape, scan), False, None
            self._report_change(f"frames of {name}: {frame_line(shape, scan)}")

    def _look(self, name: str, samples: NDArray[Any], scan: Scan, time_ns: int) -> None:
        """Warn once if these are not the samples of RF or IQ; a blank frame leaves it to the next."""
        if not self._judged:
            signal = check_signal(samples, scan)
            self._judged = signal.judged
            self._axes = AxesWatch() if signal.kind == "iq" else None
        elif self._axes is not None and self._axes.look(samples, scan, time_ns):
            signal = LINES_FIRST
        else:
            return
        if signal.judged and signal.line:
            log.warning("%s: %s", name, signal.line)

    def _rest(self) -> None:
        for _ in range(round(1e3 * _AGAIN_S / POLL_MS)):
            if self.stopping:
                return
            Event().wait(POLL_MS / 1e3)

    def _report_change(self, line: str) -> None:
        if line != self._reported:
            self._report(line)
            self._reported = line


def _image(fields: dict[str, Any], body: bytes) -> Any:
    from pyigtl.messages import ImageMessage

    image = ImageMessage()
    image.unpack(fields, body)
    return image
