"""What a conformance suite found: one row for each thing that was checked, as a table and as JSON.

Invariant: whatever a sender put into a header becomes printable text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["passed", "FAILED", "not checked"]
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\uffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked."""

    name: str
    """What was checked, in a word."""
    verdict: Verdict
    found: str
    """What was found; of a failure what, got, expected."""
    remedy: str = ""
    """What to change at the sender; empty where nothing needs to be."""
    stream: str = ""
    """Name of the source; empty for a check of all messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was checked of one sender."""

    endpoint: str
    messages: int
    seconds: float
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict == "FAILED")

    @property
    def table(self) -> str:
        """A line for each check, its remedy below it, and a last line with the result."""
        several = len({check.stream for check in self.checks} - {""}) > 1
        width = max((len(check.name) for check in self.checks), default=0)
        lines = []
        for check in self.checks:
            stream = f"{check.stream}: " * (several and bool(check.stream))
            lines.append(f"{check.verdict:<11}  {check.name:<{width}}  {stream}{check.found}")
            if check.remedy:
                lines.append(f"{'':<11}  {'':<{width}}  -> {check.remedy}")
        failed = len(self.failures)
        result = f"{failed} of {len(self.checks)} checks failed" if failed else "no check failed"
        lines.append(f"{self.messages} messages in {self.seconds:.1f} s from {self.endpoint}: {result}")
        return "\n".join(_UNPRINTABLE.sub("?", line) for line in lines)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return asdict(self) | {"passed": self.passed}


def passed(name: str, found: str) -> Check:
    """A check that passed, with a remark."""
    return Check(name=name, verdict="passed", found=found)


def failed(name: str, found: str, remedy: str) -> Check:
    """A check that failed."""
    return Check(name=name, verdict="FAILED", found=found, remedy=remedy)


def not_checked(name: str, found: str, remedy: str = "") -> Check:
    """A check that could not be made, and why."""
    return Check(name=name, verdict="not checked", found=found, remedy=remedy)


def few(values: Sequence[str], most: int = 5) -> str:
    """The first few of `values` with commas, and how many more there are."""
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(values[:most]) + more
