"""What a caller must say about foreign files, because the files do not say it themselves.

Knows no format. Invariant: nothing here is guessed; what a format needs and is not given is an error there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeAlias, get_args

from ..errors import OptionError

SAMPLE_TYPES = {"int16": "<i2", "float32": "<f4"}
"""Names of the little-endian samples a raw file may hold."""
SampleKind: TypeAlias = Literal["rf", "rf-lines", "iq", "iq-pairs", "iq-lines"]
"""RF; a line of RF before each line of its Hilbert transform, which is left out; or IQ as complex numbers or a last
axis of 2, as I and Q in turns along depth, or as a line of each in turns."""


def agrees(stated: SampleKind, kind: SampleKind) -> bool:
    """Whether samples that a file or a sender states to be `stated` may be read as `kind` without a remark.

    PLUS has one name for a line of I before a line of Q and for a line of RF before its Hilbert transform.
    """
    return stated == kind or (stated, kind) == ("iq-lines", "rf-lines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A half-open range of axial samples to keep."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise OptionError(f"rows: got {self.start}:{self.stop}, expected a:b with 0 <= a < b")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the first sample and one past the last, such as `259:1299`. Errors: `OptionError`."""
        start, colon, stop = text.partition(":")
        if not (colon and start.strip().isdecimal() and stop.strip().isdecimal()):
            raise OptionError(f"rows: got {text!r}, expected a:b, such as 259:1299")
        return cls(start=int(start), stop=int(stop))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How files are to be read, beside their geometry."""

    rows: Rows | None = None
    """Axial samples to keep, counted after the format's own cut."""
    variables: tuple[str, ...] = ()
    """Arrays to read in this order (`mat`, `numpy`, `uff`), where a file holds more than one."""
    shape: tuple[int, int] | None = None
    """(N, M) of one frame (`raw`)."""
    sample_type: str = "float32"
    """A key of `SAMPLE_TYPES` (`raw`)."""
    transpose: bool = False
    """The file holds (M, N): scan lines first."""
    kind: SampleKind | None = None
    """What the samples are; None: what the file states, else RF."""

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in get_args(SampleKind):
            raise OptionError(f"kind: got {self.kind!r}, expected one of {', '.join(get_args(SampleKind))}")
        if self.shape is not None and min(self.shape) < 1:
            raise OptionError(f"shape: got {self.shape}, expected two numbers above 0: samples, lines")
        if self.sample_type not in SAMPLE_TYPES:
            raise OptionError(f"sample type: got {self.sample_type!r}, expected {' or '.join(SAMPLE_TYPES)}")

    @property
    def variable(self) -> str | None:
        """The first array asked for, None where the file's only one is meant."""
        return self.variables[0] if self.variables else None

    def one_by_one(self) -> Iterator[Self]:
        """These options for each of the arrays asked for."""
        for name in self.variables:
            yield replace(self, variables=(name,))
        if not self.variables:
            yield self
