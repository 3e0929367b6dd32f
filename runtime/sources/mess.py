"""A scanner that misbehaves: what is done to its frames before they are sent, and what a server must count of it.

Knows no socket. Invariant: the same seed, names and frames give the same misbehaviour; after each there are some frames
as they should be, so that what a server counts of one is not counted for another.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np

from usert.errors import expect
from usert.frame import RFFrame

from ..protocol.age import clock_id
from ..protocol.header import Buffer, encode_header
from ..protocol.rf_message import RFMessage

_CLEAN_FRAMES = 4
"""Frames as they should be after each misbehaviour."""
_BURST_FRAMES = 4
_CLOCK_STEP_NS = 5_000_000_000
_JITTER = 1e-7
"""Relative change of the geometry: rounding, by the protocol."""
MESSES: Mapping[str, str] = {
    "roi": "the region of interest becomes narrower or wide again: half of the lines",
    "depth": "the depth becomes smaller or great again: three quarters of the rows",
    "jitter": "the line pitch differs in the seventh digit",
    "bmode": "a B-mode image of the same shape comes in between, as an rf message of dtype uint8",
    "drop": "a frame is not sent, and its sequence number is missing",
    "burst": f"frames are held back, and {_BURST_FRAMES} are sent at once",
    "clock": "the clock of time_ns steps by 5 s, on or back",
    "duplicate": "a frame is sent twice",
    "reorder": "a frame is sent after the one that follows it",
    "restart": "the socket is closed and opened, and the sequence begins at 0",
    "nan": "a row of samples is NaN; all frames are sent as float32 then",
    "blank": "all samples are 0",
    "half": "the message holds the first half of its samples only",
}
"""Names of what may go wrong, with what it is."""
_COUNTED: Mapping[str, Mapping[str, int]] = {
    "roi": {"sessions": 1},
    "depth": {"sessions": 1},
    "bmode": {"malformed": 1},
    "clock": {"sessions": 1, "clock_jumps": 1},
    "duplicate": {"duplicates": 1},
    "restart": {"sessions": 1},
    "half": {"malformed": 1},
}
"""What a server counts of each at once, by the names of its counters. A frame that is missing counts with the next."""


Step: TypeAlias = RFFrame | list[Buffer] | Literal["restart"]
"""What the scanner does next: it sends a frame, or the parts of a malformed message, or opens its socket anew."""


class Mess:
    """What goes wrong with a stream of frames: `tick` takes each frame when it is due.

    `counts` has the number of each misbehaviour so far, by the names of `MESSES`; `expected` what a server that
    received everything must have counted.
    """

    def __init__(self, names: Collection[str], *, seed: int = 0, every: int = 12, stream: str = "") -> None:
        """`every`: frames from one misbehaviour to the next, on average. `stream`: name of the scanner.

        Errors: `OptionError` for names that do not exist.
        """
        unknown = [name for name in names if name not in MESSES]
        expect(
            not unknown,
            "--mess",
            f"{unknown[0] if unknown else None!r}",
            f"all, or some of {','.join(MESSES)}",
        )
        expect(every > _CLEAN_FRAMES, "--mess: frames in between", every, f"more than {_CLEAN_FRAMES}")
        self.names = tuple(name for name in MESSES if name in names)
        self.counts: Counter[str] = Counter()
        self.expected: Counter[str] = Counter(sessions=1)
        self._random = random.Random(f"{seed} {self.names}")
        self._every = every
        self._stream = stream
        self._clean = self._sequence = self._clock_ns = 0
        self._held: list[RFFrame] = []
        """Frames that were due and wait for those that are sent with them."""
        self._backwards = False
        """Whether those are sent in reverse order."""
        self._narrow = self._shallow = self._missing = False

    def tick(self, frame: RFFrame, time_ns: int, *, first: bool = False) -> list[Step]:
        """The steps for the next frame, which was complete at `time_ns`; `first`: the recording begins with it."""
        steps: list[Step] = []
        if first and self._sequence:
            steps += self._release()
            self._sequence = self._clean = 0
            self._missing = False
            self.expected["sessions"] += 1
        if self._missing:
            self.expected["lost"] += 1
            self._missing = False
        if self._held:
            self._held.append(self._stamped(frame, time_ns))
            return self._release() if len(self._held) == self._together else []
        name = self._choose()
        if name:
            self.counts[name] += 1
            self.expected.update(_COUNTED.get(name, {}))
            self._missing = name in ("drop", "half")
            self._move(name)
        if name == "bmode":
            steps.append(self._bmode(frame, time_ns))
        elif name == "restart":
            steps.append("restart")
        return [*steps, *self._spoilt(name, self._stamped(frame, time_ns))]

    def _spoilt(self, name: str, frame: RFFrame) -> list[Step]:
        """The steps for a stamped `frame` with which `name` goes wrong."""
        match name:
            case "drop":
                return []
            case "duplicate":
                return [frame, frame]
            case "half":
                header, samples = RFMessage(frame=frame, stream=self._stream, clock=clock_id()).to_parts()
                return [[header, memoryview(samples)[: len(samples) // 2]]]
            case "reorder" | "burst":
                self._held, self._backwards = [frame], name == "reorder"
                return []
            case "jitter":
                pitch_mm = frame.scan.line_pitch_mm * (1 + self._random.choice((-_JITTER, _JITTER)))
                return [replace(frame, scan=replace(frame.scan, line_pitch_mm=pitch_mm))]
            case "nan" | "blank":
                spoilt = frame.samples.copy()
                spoilt[len(spoilt) // 2 if name == "nan" else slice(None)] = np.nan if name == "nan" else 0
                return [replace(frame, samples=spoilt)]
            case _:
                return [frame]

    @property
    def summary(self) -> str:
        """What went wrong how often, and what a server that received everything must have counted."""
        done = ", ".join(f"{name} {self.counts[name]}" for name in self.names)
        names = ("received", "malformed", "lost", "duplicates", "late", "clock_jumps", "sessions")
        counted = ", ".join(f"{name.replace('_', ' ')} {self.expected[name]}" for name in names)
        return f"mess: {done}; a server counts {counted}"

    def _choose(self) -> str:
        """The next misbehaviour; empty for a frame as it should be."""
        self._clean += 1
        if self._clean <= _CLEAN_FRAMES or not self.names:
            return ""
        if self._random.random() * (self._every - _CLEAN_FRAMES) >= 1:
            return ""
        self._clean = 0
        return self._random.choice(self.names)

    def _move(self, name: str) -> None:
        match name:
            case "roi":
                self._narrow = not self._narrow
            case "depth":
                self._shallow = not self._shallow
            case "restart":
                self._sequence = 0
            case "clock":
                self._clock_ns += self._random.choice((-1, 1)) * _CLOCK_STEP_NS

    def _stamped(self, frame: RFFrame, time_ns: int) -> RFFrame:
        """`frame` as the scanner makes it now: cut to its region, with the next sequence number and its times."""
        n, m = frame.shape
        rows = max(1, 3 * n // 4) if self._shallow else n
        lines = max(1, m // 2) if self._narrow else m
        samples = frame.samples[:rows, :lines]
        sequence, self._sequence = self._sequence, self._sequence + 1
        return replace(
            frame,
            samples=samples.astype(np.float32) if "nan" in self.names else samples,
            sequence=sequence,
            time_ns=max(1, time_ns + self._clock_ns),
            acquired_ns=time.time_ns(),
        )

    @property
    def _together(self) -> int:
        """Frames that are sent at once, while some are held."""
        return 2 if self._backwards else _BURST_FRAMES

    def _release(self) -> list[Step]:
        held, self._held = self._held, []
        if self._backwards and held:
            held.reverse()
            self.expected["late"] += len(held) - 1
        return [*held]

    def _bmode(self, frame: RFFrame, time_ns: int) -> list[Buffer]:
        """What a scanner sends that takes every image for RF: bytes of grey, told by their dtype alone."""
        n, m = frame.shape
        fields = {
            "stream": self._stream,
            "sequence": self._sequence,
            "time_ns": time_ns,
            "acquired_ns": time.time_ns(),
            "clock": clock_id(),
            "dtype": "uint8",
            "shape": [n, m],
            "byte_order": "little",
        }
        return [encode_header("rf", fields | frame.scan.stated), bytes(n * m)]
