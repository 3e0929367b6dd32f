"""A stand-in for PLUS: simulated RF until Ctrl-C, as `examples/plus` has PlusServer send it to `usert bridge igtl-rf`.

    python examples/stand_ins/plus_server.py [--port 18944]

The messages are those of pyigtl's server (`pip install '.[igtl]'`): an image a frame, a row a scan line.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
from pyigtl.comm import OpenIGTLinkServer
from pyigtl.messages import ImageMessage

from usert.frame import Scan
from usert.phantom.scanner import ScannerConfig, SimulatedScanner

SCAN = Scan(fs_hz=40e6, f0_hz=6.25e6, sound_speed_m_s=1540, line_pitch_mm=0.12)
RATE_HZ = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=18944)
    port = parser.parse_args().port
    scanner = SimulatedScanner(ScannerConfig(scan=SCAN))
    frames = [scanner.frame(k).samples for k in range(scanner.period_frames)]
    spacing = np.diag([SCAN.axial_pitch_mm, SCAN.line_pitch_mm, 1, 1])
    server = OpenIGTLinkServer(port=port)
    print(f"plus: Image_Reference at 127.0.0.1:{port}; Ctrl-C ends", flush=True)
    try:
        for samples in itertools.cycle(frames):
            lines = np.ascontiguousarray(samples.T)[np.newaxis]
            message = ImageMessage(lines, spacing, timestamp=time.time(), device_name="Image_Reference")
            server.send_message(message, wait=False)
            time.sleep(1 / RATE_HZ)
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
