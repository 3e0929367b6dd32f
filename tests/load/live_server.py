"""`usert serve` before a load: a process with two endpoints, what it holds, and its counts when it ends.

Knows the command line and the lines that it prints. Invariant: a traceback in its log is an error here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from server_process import ServerProcess
from vitals import Vitals

_LOOPBACK = "tcp://127.0.0.1:0"
_END_S = 30.0
_LOG_S = 120.0


class LiveServer(ServerProcess):
    """`with LiveServer(["--lag", "1"]) as server: ...`; the RF socket binds, and pulls unless told otherwise."""

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        rf: str = _LOOPBACK,
        publish: str = _LOOPBACK,
        rf_type: str = "pull",
    ) -> None:
        super().__init__("--rf", rf, "--rf-type", rf_type, "--rf-bind", "--publish", publish, *arguments)

    def __enter__(self) -> Self:
        begin = time.monotonic()
        super().__enter__()
        try:
            self.rf = self.wait_for(r"rf on (\S+)")
            self.publish = self.wait_for(r"strain on (\S+)")
            self.line(r"Ctrl-C ends")
        except BaseException:
            super().__exit__(None, None, None)
            raise
        self.start_s = time.monotonic() - begin
        """From the start of the process until it served."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        log = self.errors
        super().__exit__(kind, error, trace)
        if kind is None and "Traceback" in log:
            raise AssertionError(f"usert serve wrote:\n{log}")

    @property
    def vitals(self) -> Vitals:
        assert self.alive, f"usert serve has ended: {self.errors}"
        return Vitals.of(self.pid)

    def end(self) -> dict[str, int]:
        """Stop it as Ctrl-C does; the counts of its summary by name, `received` and `images` first."""
        self.signal()
        self.summary = self.line(r"serve: (\d+ frames received.*)", _END_S)[1]
        return counts_of(self.summary)

    def logged(self, pattern: str) -> str:
        """The first group of `pattern` in the newest line of its log that holds it, once there is one."""
        deadline = time.monotonic() + _LOG_S
        while time.monotonic() < deadline:
            if found := re.findall(pattern, self.errors):
                return str(found[-1])
            time.sleep(5e-3)
        raise AssertionError(f"usert serve logged no {pattern!r} in {_LOG_S:g} s")


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
    reasons = ("images", "dropped", "unpaired", "failed", "duplicates", "late", "rejected")
    return counts["received"] == sum(counts.get(name, 0) for name in reasons)
