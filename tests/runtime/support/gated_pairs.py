"""Two pairs at once, each before a gate that a test opens in any order."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from live import TIMEOUT_S, WrappedEngine, wait_until
from numpy.typing import NDArray

from usert.frame import Scan, Shape
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate

AT_ONCE = 2


class Gates(WrappedEngine):
    """The real engine, which runs two pairs at once; each waits for a gate of its own once `closed`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.closed = False
        self.entered: list[Gate] = []
        self._one_at_a_time = threading.Lock()
        """Of the real engine."""

    def at_once(self, shape: Shape, scan: Scan | None = None) -> int:
        return AT_ONCE

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        if self.closed:
            gate = Gate(current)
            self.entered.append(gate)
            assert gate.opened.wait(TIMEOUT_S)
            if gate.fault is not None:
                raise gate.fault
        with self._one_at_a_time:
            return super().run(reference, current, scan)

    def gate_of(self, message: Any) -> Gate:
        """The gate at which the pair of the frame of `message` waits."""
        samples = message.frame.samples
        wait_until(lambda: any(np.array_equal(gate.current, samples) for gate in self.entered))
        return next(gate for gate in self.entered if np.array_equal(gate.current, samples))

    def open_all(self) -> None:
        self.closed = False
        for gate in self.entered:
            gate.opened.set()


@dataclass
class Gate:
    current: NDArray[Any]
    opened: threading.Event = field(default_factory=threading.Event)
    fault: Exception | None = None
