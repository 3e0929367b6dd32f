"""`usert serve` as a benchmark sees it: a process with two endpoints, its vitals, and a summary when it ends.

Knows the command line and the lines that it prints. Invariant: the process is gone at the end of the `with` block,
and whatever it wrote of an exception of its own is an error here.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from live_vitals import Vitals

from usert.runtime.sources.child_process import ChildProcess

_START_S = 120.0
_END_S = 30.0
_LOOPBACK = "tcp://127.0.0.1:0"


class Serve:
    """`with Serve(["--lag", "1"]) as server: ...`; the RF socket binds and pulls unless told otherwise."""

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        rf: str = _LOOPBACK,
        publish: str = _LOOPBACK,
        rf_type: str = "pull",
    ) -> None:
        command = ["serve", "--rf", rf, "--rf-type", rf_type, "--rf-bind", "--publish", publish]
        self._child = ChildProcess([*command, *arguments])
        self._killed = False

    def __enter__(self) -> Self:
        begin = time.monotonic()
        self._child.__enter__()
        try:
            self.rf = self.line(r"rf on (\S+)")[1]
            self.publish = self.line(r"strain on (\S+)")[1]
            self.line(r"Ctrl-C ends")
        except BaseException:
            self._child.end()
            raise
        self.start_s = time.monotonic() - begin
        """From the start of the process until it served."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.end()
        told = "\n".join(self._child.errors)
        if kind is None and "Traceback" in told:
            raise AssertionError(f"usert serve wrote:\n{told}")

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def vitals(self) -> Vitals:
        """Errors: `EngineError` with its last line, when it has ended by itself."""
        self._child.check()
        return Vitals.of(self.pid)

    def kill(self) -> None:
        """`kill -9`."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> dict[str, int]:
        """Stop it as Ctrl-C does; the counts of its summary by name, `received` and `images` first."""
        os.kill(self.pid, signal.SIGTERM)
        self.summary = self.line(r"serve: (\d+ frames received.*)", _END_S)[1]
        return counts_of(self.summary)

    def line(self, pattern: str, timeout_s: float = _START_S) -> re.Match[str]:
        """The next line of its output that holds `pattern`."""
        found = self._child.wait_for(pattern, stopping=lambda: False, timeout_s=timeout_s)
        assert found is not None
        return found

    def logged(self, pattern: str, timeout_s: float = _START_S) -> re.Match[str]:
        """The newest line of its log that holds `pattern`, once there is one."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in reversed(tuple(self._child.errors)):
                if match := re.search(pattern, line):
                    return match
            time.sleep(5e-3)
        raise AssertionError(f"usert serve logged no {pattern!r} in {timeout_s:g} s")


def counts_of(summary: str) -> dict[str, int]:
    """Such as `{"received": 7, "images": 6, "dropped": 0, …}`; each name once, the first of that name."""
    found: dict[str, int] = {}
    for name, pattern in (("received", r"(\d+) frames received"), ("images", r"(\d+) images?\b")):
        match = re.search(pattern, summary)
        if match:
            found[name] = int(match[1])
    for name, count in re.findall(r"(?<![A-Za-z])([a-z][a-z ]*) (\d+)\b(?!\.)", summary):
        found.setdefault(name.strip(), int(count))
    return found


def books(counts: dict[str, int]) -> bool:
    """Whether every frame received was used or left out for a reason that was counted."""
    reasons = ("images", "dropped", "unpaired", "failed", "duplicates", "late", "turned away")
    return counts["received"] == sum(counts.get(name, 0) for name in reasons)
