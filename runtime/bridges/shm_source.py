"""The incoming bridge of a file in memory: frames from a program on this machine, such as MATLAB, to a live server."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..protocol.age import now_ns
from ..transport.keys import ServerKeys
from ..transport.lifecycle import Service
from .relay import Relay
from .shm_file import ShmFile

_POLL_S = 5e-4
"""Time between two looks at the counters: a look costs some microseconds."""
_REPORT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShmConfig:
    """Where frames come from, and where they leave."""

    path: Path
    publish: str
    """Endpoint to bind, for `usert serve --rf`."""
    keys: ServerKeys | None = None
    insecure: bool = False


class ShmSource(Service):
    """Sends on the frames of a file until `stop()`: `with ShmSource(config) as source: source.run()`."""

    def __init__(self, config: ShmConfig, report: Callable[[str], None] = lambda line: None) -> None:
        """`report` is called with a line when the file comes or goes, and when its frames change.

        Errors: `OptionError` for an endpoint that other machines can reach without keys, unless `insecure`.
        """
        super().__init__()
        self.relay = Relay(config.publish, config.keys, report, insecure=config.insecure)
        self._path = config.path
        self._file = ShmFile(config.path, self.relay.faults.add)
        self._report = report
        self._reported = ""

    def _open(self, stack: ExitStack) -> None:
        self.relay.open(stack)
        stack.callback(self._file.close)

    def run(self) -> None:
        """Pass frames on until `stop()`."""
        with self._loop():
            report_s = 0.0
            while not self.stopping:
                for header, samples in self._file.messages():
                    self.relay.take(header, samples, now_ns())
                now_s = time.monotonic()
                if now_s >= report_s:
                    self._report_change()
                    self.relay.faults.log_repeated()
                    report_s = now_s + _REPORT_S
                time.sleep(_POLL_S)

    def _report_change(self) -> None:
        state = self._file.state
        line = f"waiting for {self._path}: {state}" if state else f"reading {self._path}"
        if line != self._reported:
            self._report(line)
            self._reported = line
