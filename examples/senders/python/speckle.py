"""Stands for your scanner: speckle, pressed deeper by .1 % with each frame up to 2 %, and let go, until it is killed.

python speckle.py tcp://127.0.0.1:5555 [--iq] [--float32] [--size 512x128] [--rate 30] [--count N] [--stream NAME]
python speckle.py tcp://10.0.0.5:5555 --connect --key scanner.key_secret --server-key server.key
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import UsertError
from usert.frame import Scan
from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.transport.keys import ClientKeys

RF = Scan(fs_hz=40e6, f0_hz=6.4e6, sound_speed_m_s=1540, line_pitch_mm=0.3)
IQ = Scan(fs_hz=10e6, f0_hz=6.4e6, sound_speed_m_s=1540, line_pitch_mm=0.3, demodulation_hz=6.4e6)


def speckle(rows: int, lines: int, scan: Scan) -> Iterator[NDArray[Any]]:
    """Frames (rows, lines) without end, complex ones of IQ."""
    iq = scan.kind == "iq"
    deep, pulse = rows + rows // 40 + 2, np.hanning(9 if iq else 27)[1:-1]
    noise = 800 * np.random.default_rng(0).standard_normal((2, deep, lines))
    envelope = np.apply_along_axis(np.convolve, 0, noise[0] + 1j * noise[1], pulse, mode="same").astype("c8")
    row = np.arange(rows)
    for k in itertools.cycle([*range(20), *range(20, 0, -1)]):
        at = row * (1 + 0.001 * k)
        above, turns = at.astype(int), scan.cycles_per_sample * (at - row if iq else at)
        part, turn = (at - above).astype("f4")[:, None], np.exp(2j * np.pi * turns).astype("c8")[:, None]
        frame = ((1 - part) * envelope[above] + part * envelope[above + 1]) * turn
        yield frame if iq else frame.real


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("--iq", action="store_true")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--size", default="512x128")
    parser.add_argument("--rate", type=float, default=30)
    parser.add_argument("--count", type=int, default=-1)
    parser.add_argument("--stream", default="python-speckle")
    parser.add_argument("--connect", action="store_true")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--server-key", type=Path)
    options = parser.parse_args()
    scan = IQ if options.iq else RF
    keys = ClientKeys.load(options.key, options.server_key) if options.key else None
    rows, lines = map(int, options.size.split("x"))
    frames = speckle(rows, lines, scan)
    with FrameSender(
        options.endpoint, scan, stream=options.stream, bind=not options.connect, keys=keys
    ) as sender:
        print(f"speckle: {options.endpoint}", flush=True)
        for number, frame in enumerate(frames):
            if number == options.count:
                break
            if not options.float32:
                pairs = np.stack((frame.real, frame.imag), axis=-1) if options.iq else frame
                frame = pairs.astype(np.int16)
            sender.send(frame)  # now the frame is complete
            time.sleep(1 / options.rate)
        print(f"speckle: {sender.sent} sent, {sender.dropped} dropped")


try:
    main()
except UsertError as error:
    sys.exit(f"speckle: {error}")
