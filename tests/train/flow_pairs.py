"""Pairs of images with flow, in the files of the FlyingChairs."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image


def write_flo(path: Path, flow: np.ndarray) -> None:
    """`flow` (2, N, M), rows first."""
    columns_first = flow[::-1].transpose(1, 2, 0).astype("<f4")
    path.write_bytes(struct.pack("<fii", 202021.25, flow.shape[2], flow.shape[1]) + columns_first.tobytes())


def write_pair(folder: Path, name: str, shape: tuple[int, int] = (12, 20), seed: int = 0) -> np.ndarray:
    """A whole pair; gives its images (2, N, M, 3) back."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    for k, image in enumerate(images, 1):
        Image.fromarray(image).save(folder / f"{name}_img{k}.ppm")
    rows, columns = np.indices(shape)
    write_flo(folder / f"{name}_flow.flo", np.stack([100.0 * seed + rows, columns]))  # tells where a crop lay
    return images
