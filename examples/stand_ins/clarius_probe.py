"""A stand-in for a Clarius probe: simulated RF until Ctrl-C, for `usert bridge clarius` with the module `clarius_cast`.

    python examples/stand_ins/clarius_probe.py [--port 5828]

The probe is a TCP server that tells the stand-in module what to call back. It sends three B-mode images with each RF
frame, and may be ended and started again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import time
from contextlib import suppress
from typing import Any, Self

from numpy.typing import NDArray

from usert.frame import Scan
from usert.phantom.scanner import ScannerConfig, SimulatedScanner

AXIAL_UM = 38.5
"""Microns of a sample at 20 MHz, as a C3 sends them (clariusdev/cast issue 50)."""
L7 = Scan(fs_hz=40e6, f0_hz=7.5e6, sound_speed_m_s=1540, line_pitch_mm=0.12)
RATE_HZ = 20.0


class ClariusProbe:
    """A probe that a bridge connects to; `with ClariusProbe() as probe:`."""

    def __init__(self, port: int = 0, timeout_s: float | None = 20.0) -> None:
        """`timeout_s`: of each wait for the bridge; None waits without end."""
        self._timeout_s = timeout_s
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(timeout_s)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lose()
        self._listener.close()

    def accept(self) -> Self:
        """Wait until a bridge connects."""
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(self._timeout_s)
        return self

    def lose(self) -> None:
        """Be gone for the bridge that is connected; another connection is accepted."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, name: str, *arguments: Any, memory: bytes = b"") -> None:
        """Call the callback `name` back, with `memory` before the arguments if it is one of images."""
        assert self._connection is not None
        event = {"call": name, "arguments": arguments, "bytes": len(memory)}
        self._connection.sendall(json.dumps(event).encode() + b"\n" + memory)

    def rf(
        self, samples: NDArray[Any], *, time_ns: int = 1, lateral_um: float = 300.0, **changes: Any
    ) -> None:
        """Stream RF (N, M) int16, line after line."""
        n, m = samples.shape
        fields = {
            "lines": m,
            "samples": n,
            "bps": 16,
            "axial": AXIAL_UM,
            "lateral": lateral_um,
            "timestamp": time_ns,
            "jpg": 0,
            "rf": 1,
            "angle": 0.0,
        }
        self.call("raw", *(fields | changes).values(), memory=samples.T.astype("<i2").tobytes())

    def b_mode(self) -> None:
        """Send a B-mode image, as it is before and after scan conversion."""
        self.call("raw", 4, 6, 8, 255.28, 300.0, 1, 0, 0, 0.0, memory=bytes(24))
        self.call("processed", 2, 2, 16, 100.0, 1, 0.0, [], memory=bytes(16))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=5828)
    port = parser.parse_args().port
    scanner = SimulatedScanner(ScannerConfig(scan=L7))
    frames = [scanner.frame(k).samples for k in range(scanner.period_frames)]
    with suppress(KeyboardInterrupt), ClariusProbe(port, timeout_s=None) as probe:
        print(f"probe: an L7 at {probe.address}; Ctrl-C ends", flush=True)
        while True:
            probe.accept()
            print("probe: connected", flush=True)
            with suppress(OSError):
                for samples in itertools.cycle(frames):
                    for _ in range(3):
                        probe.b_mode()
                    um = 1e3 * L7.axial_pitch_mm, 1e3 * L7.line_pitch_mm
                    probe.rf(samples, time_ns=time.monotonic_ns(), axial=um[0], lateral_um=um[1])
                    time.sleep(1 / RATE_HZ)
            probe.lose()
            print("probe: the bridge is gone", flush=True)


if __name__ == "__main__":
    main()
