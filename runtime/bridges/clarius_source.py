"""The bridge of Clarius Cast: RF that a probe streams, by the maker's Python module, to `usert serve`.

After the maker's public text, github.com/clariusdev/cast: `docs/getting-started.md` (connect with the word `research`,
the order in which to close) and `examples/python/pycaster.py`. `isConnected` is not asked: it is told to be true after
the probe was switched off, and false while it images (cast issues 157 and 171); the maker's advice is to watch for
images (clariusdev/app issue 25), and so a probe that is silent while it is not frozen is connected again.

Invariant: nothing that is raised in a callback reaches the maker's library, and no callback waits for a receiver.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

from numpy.typing import NDArray

from usert.errors import OptionError, UsertError
from usert.frame import Scan
from usert.signal_check import check_signal

from ..clients.frame_sender import FrameSender
from ..protocol.age import now_ns
from ..protocol.header import MalformedError
from ..transport.address import parse_address
from ..transport.fault_counter import FaultCounter
from ..transport.keys import ServerKeys
from ..transport.lifecycle import POLL_MS, Service
from .clarius_frames import PROBES, ClariusReading, RawImage, WallClock
from .clarius_library import load_cast, make_caster

_CERTIFICATE = "research"
"""By which the maker's library does without authentication."""
_IMAGE_PX = 640, 480
"""Size of the B-mode images, which are not used."""
_ONLY_B = 60
"""B-mode images without RF between them after which this is reported: RF comes after every third."""
_MOST_LOOKS = 10
_AGAIN_S = 1.0
_FROZEN = 12
"""How many times longer a frozen probe may be silent."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClariusConfig:
    """Source, geometry and destination of the frames."""

    receive: str
    """HOST:PORT of the probe, as the Clarius App shows it."""
    publish: str
    """Address to bind, for `usert serve --rf`."""
    reading: ClariusReading
    cast: Path | None = None
    """Folder of the maker's libraries; None: where Python looks for modules."""
    stream: str = "clarius"
    silent_s: float = 5.0
    """A probe from which nothing comes for this long is connected again."""
    keys: ServerKeys | None = None
    insecure: bool = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the probe. Errors: `OptionError`."""
        host, port = parse_address(self.receive, name="--receive")
        if port == 0:
            raise OptionError(f"--receive: got {self.receive!r}, expected HOST:PORT with a port from 1 on")
        return host, port


class ClariusSource(Service):
    """Publishes RF at `endpoint`: `with ClariusSource(config) as source: source.run()`, until `stop()`.

    The callbacks are called by threads of the maker's library; each sends its frame itself.
    """

    def __init__(self, config: ClariusConfig, report: Callable[[str], None] = lambda line: None) -> None:
        """`report` is called with a line when the state changes, by the thread in `run()`.

        Errors: `MissingExtraError` without the maker's module; `OptionError` for a module that cannot be loaded, and
        for addresses that cannot be used.
        """
        super().__init__()
        self._address = config.address
        self._sender = FrameSender(
            config.publish, stream=config.stream, keys=config.keys, insecure=config.insecure
        )
        self._module = load_cast(config.cast)
        self._config = config
        self._report = report
        self._lines: SimpleQueue[str] = SimpleQueue()
        """Lines to report, from the callbacks."""
        self._reported = ""
        self._heard_s = 0.0
        """When anything came from the probe."""
        self._heard = False
        """Whether anything came since it was connected."""
        self._frozen = False
        self._since_rf = 0
        """B-mode images since the last RF."""
        self._seen: tuple[Any, ...] = ()
        self._wall_clock = WallClock()
        self._looks = 0
        """How many more frames of this geometry are looked at, until one can be judged."""
        self._error: BaseException | None = None
        self.b_images = 0
        """B-mode images, which cannot be used."""
        self.refused = FaultCounter(log, "not an RF frame")
        """Rejected RF, by kind."""

    @property
    def sent(self) -> int:
        """Frames that were handed to a receiver's queue."""
        return self._sender.sent

    @property
    def dropped(self) -> int:
        """Frames that no receiver was there for, or whose only receiver was slow."""
        return self._sender.dropped

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self._sender)
        self.endpoint = self._sender.endpoint
        self._caster = make_caster(
            self._module,
            processed=self._guarded(self._take_processed),
            raw=self._guarded(self._take_raw),
            other=self._guarded(lambda *_: None),
            freeze=self._guarded(self._take_freeze),
        )
        stack.callback(self._caster.destroy)
        if not self._caster.init(f"{Path.home()}/", *_IMAGE_PX):
            raise OptionError(
                f"Clarius Cast: got a failure to initialise, expected {Path.home()}, where it keeps keys, to be "
                "writable"
            )

    def run(self) -> None:
        """Pass frames on until `stop()`; connects again to a probe that is lost."""
        probe = PROBES.get(self._config.reading.probe)
        if probe is not None and probe.array != "linear" and self._config.reading.radius_mm is None:
            log.warning(
                "--probe %s: a %s array, whose lines are shown side by side without --radius-mm",
                self._config.reading.probe,
                probe.array,
            )
        with self._loop():
            while not self.stopping:
                if self._connect():
                    self._watch()
                    self._caster.disconnect()
                self._rest(_AGAIN_S)

    def _connect(self) -> bool:
        self._heard, self._frozen, self._heard_s = False, False, time.monotonic()
        connected = bool(self._caster.connect(*self._address, _CERTIFICATE))
        if not connected:
            self._tell(
                f"waiting for {self._config.receive}: got no connection, expected one of a probe that the Clarius App "
                "is connected to, with Cast permitted, and a package of the App's very version"
            )
        return connected

    def _watch(self) -> None:
        """Report what comes, until `stop()` or until nothing comes any more."""
        limit_s = self._config.silent_s
        while not self.stopping:
            self._rest(POLL_MS / 1e3)
            if time.monotonic() - self._heard_s > limit_s * (_FROZEN if self._frozen else 1):
                self._tell(
                    f"waiting for {self._config.receive}: got nothing for {limit_s:g} s, expected images: is the probe "
                    "on and imaging, and do firewalls let UDP through to Python?"
                )
                return

    def _rest(self, seconds: float) -> None:
        """Wait, report what the callbacks had to say, and raise what was raised in one."""
        deadline_s = time.monotonic() + seconds
        while True:
            if self._error is not None:
                raise self._error
            while not self._lines.empty():
                self._tell(self._lines.get())
            self.refused.log_repeated()
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or self.stopping:
                return
            Event().wait(min(left_s, POLL_MS / 1e3))

    def _guarded(self, take: Callable[..., None]) -> Callable[..., None]:
        """A callback that notes when it was called, and raises nothing."""

        def guarded(*arguments: Any) -> None:
            self._heard_s = time.monotonic()
            if not self._heard:
                self._heard = True
                self._lines.put(f"connected to {self._config.receive}")
            try:
                take(*arguments)
            except MalformedError as error:
                self.refused.add(error.fault, str(error))
            except (TypeError, ValueError, BufferError, UsertError) as error:
                if not self.stopping:
                    self.refused.add("image", f"got what cannot be read: {error}")
            except BaseException as error:
                self._error = error

        return guarded

    def _take_freeze(self, frozen: Any) -> None:
        self._frozen = bool(frozen)
        self._lines.put("frozen" if self._frozen else "imaging")

    def _take_processed(self, *_: Any) -> None:
        """Count a B-mode image; `_take_raw` is called with the same one, before its scan conversion."""
        self._since_rf += 1
        if self._since_rf == _ONLY_B:
            self._lines.put(
                "got B-mode images without RF, expected RF in between: turn on RF mode, and its streaming, in the "
                "Clarius App; the probe needs the maker's licence for it"
            )

    def _take_raw(self, *arguments: Any) -> None:
        arrived_ns = now_ns()
        raw = RawImage(*arguments)
        if not raw.rf:
            self.b_images += 1
            return
        samples, scan = self._config.reading.read(raw)
        self._note(samples, scan, raw)
        self._sender.send(
            samples,
            scan,
            time_ns=arrived_ns,
            acquired_ns=self._wall_clock.at(raw.time_ns, time.time_ns()),
            copy=False,
        )
        self._look(samples, scan)

    def _note(self, samples: NDArray[Any], scan: Scan, raw: RawImage) -> None:
        geometry, back = (samples.shape, scan), self._since_rf >= _ONLY_B
        self._since_rf = 0
        if geometry != self._seen:
            self._looks = _MOST_LOOKS
        if geometry != self._seen or back:
            self._seen = geometry
            self._lines.put(
                f"RF: {samples.shape[0]} samples by {samples.shape[1]} lines, fs {scan.fs_hz / 1e6:.4g} MHz by "
                f"{raw.axial_um:.4g} microns a sample, f0 {scan.f0_hz / 1e6:.4g} MHz, line pitch "
                f"{scan.line_pitch_mm:.4g} mm"
            )

    def _look(self, samples: NDArray[Any], scan: Scan) -> None:
        """Warn once if these are not the samples of RF; a blank frame leaves it to the next."""
        if self._looks:
            signal = check_signal(samples, scan)
            self._looks = 0 if signal.judged else self._looks - 1
            if signal.judged and signal.line:
                log.warning("%s", signal.line)

    def _tell(self, line: str) -> None:
        if line != self._reported:
            self._report(line)
            self._reported = line
