"""A sender of RF frames by pyigtl's own server: a program of its own, as that server takes signals and leaves threads.

    python igtl_sender.py PORT DTYPE ROWS COLUMNS SPACING_I SPACING_J

Frame n is seeded by n, its timestamp is 1.7e9 + n seconds; a B-mode image and a transform come before it.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray
from pyigtl.comm import OpenIGTLinkServer
from pyigtl.messages import ImageMessage, TransformMessage

START_S = 1_700_000_000


def samples_of(number: int, dtype: str, shape: tuple[int, int]) -> NDArray[np.generic]:
    """Of frame `number`, as they lie in the image."""
    return np.random.default_rng(number).integers(-1000, 1000, shape).astype(dtype)


def main() -> None:
    port, dtype, rows, columns, spacing_i, spacing_j = sys.argv[1:]
    shape = int(rows), int(columns)
    server = OpenIGTLinkServer(port=int(port))
    print(f"port {server.server_address[1]}", flush=True)
    for number in range(10_000):
        server.send_message(TransformMessage(np.eye(4), device_name="Probe"), wait=False)
        server.send_message(ImageMessage(np.zeros((1, 5, 4), np.uint8), device_name="BMode"), wait=False)
        angle = 0.01 * number  # a tracked probe: another matrix with each frame
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        matrix = np.eye(4)
        matrix[:3, :3] = turn @ np.diag([float(spacing_i), float(spacing_j), 1])
        image = ImageMessage(
            samples_of(number, dtype, shape)[np.newaxis],
            ijk_to_world_matrix=matrix,
            timestamp=START_S + number,
            device_name="RF",
        )
        server.send_message(image, wait=False)
        time.sleep(0.03)


if __name__ == "__main__":
    main()
