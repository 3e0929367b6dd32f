"""A sender as a maker may write it from memory, in bare pyzmq, with five faults: `python wrong_sender.py ENDPOINT`.

Knows nothing of usert. The faults: big-endian samples; a sequence that leaves numbers out; time_ns in microseconds;
acquired_ns in milliseconds; a clock that has another name in each message.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import zmq


def speckle() -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((600, 64))
    pulse = np.cos(2 * np.pi * 0.16 * np.arange(-12, 13)) * np.hanning(25)
    return np.apply_along_axis(np.convolve, 0, noise, pulse, mode="same")


def main(endpoint: str) -> None:
    lines = speckle()
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.linger = 0
        socket.bind(endpoint)
        print(socket.get_string(zmq.LAST_ENDPOINT), flush=True)
        for k in range(100_000):
            samples = (2000 * np.roll(lines, k, axis=0)[:512]).astype(">i2")
            header = {
                "usert": 1,
                "kind": "rf",
                "stream": "mine",
                "sequence": k + k // 10,
                "time_ns": time.monotonic_ns() // 1000,
                "acquired_ns": round(time.time() * 1e3),
                "clock": f"clock {k}",
                "dtype": "int16",
                "shape": list(samples.shape),
                "byte_order": "little",
                "fs_hz": 40e6,
                "f0_hz": 6.4e6,
                "sound_speed_m_s": 1540.0,
                "line_pitch_mm": 0.3,
            }
            socket.send_multipart([json.dumps(header).encode(), samples.tobytes()])
            time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1])
