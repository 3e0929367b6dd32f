"""What the samples of a frame look like.

Knows no samples. Invariant: a kind that is refused has a line that says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SignalKind = Literal[
    "blank",
    "noise",
    "rf",
    "iq",
    "picture",
    "demodulated",
    "lines_first",
    "byte_order",
    "iq_turns",
    "no_quadrature",
    "carrier",
    "offset",
    "unsigned",
    "f0",
]
"""`blank`: nothing to judge by, such as zeros or a few samples. `noise`: energy everywhere. `rf`, `iq`: as it was
told. `picture`: B-mode or an envelope. `demodulated`: told to be RF, but without carrier, such as I and Q in lines
or blocks of their own. `lines_first`: depth is along the second axis. `byte_order`: with its bytes in the other
order. `iq_turns`: told to be RF, but I and Q in turns along depth. `no_quadrature`: told to be IQ, but I and Q are
two of one kind, such as RF lines. `carrier`: told to be IQ, but not turned down, such as RF and its Hilbert
transform. `offset`: never negative. `unsigned`: told to be of 16 bits with a sign. `f0`: RF or IQ of another
frequency."""

_REFUSED: tuple[SignalKind, ...] = (
    "picture",
    "demodulated",
    "lines_first",
    "byte_order",
    "iq_turns",
    "no_quadrature",
    "carrier",
)
_UNJUDGED: tuple[SignalKind, ...] = ("blank", "noise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What the samples of a frame look like."""

    kind: SignalKind
    share: float = 0.0
    """Share of the energy along depth within .5 to 1.5 f0, 0 to 1."""
    line: str = ""
    """What was found, what is expected, and the remedy; empty where there is nothing to remark."""

    @property
    def refused(self) -> bool:
        """Whether the samples are certainly something else than RF, or IQ, along depth."""
        return self.kind in _REFUSED

    @property
    def judged(self) -> bool:
        """Whether there was an echo, or a picture, to judge by."""
        return self.kind not in _UNJUDGED
