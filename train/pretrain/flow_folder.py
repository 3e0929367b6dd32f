"""A folder of image pairs with true flow, in the format of the FlyingChairs.

A pair is NAME_img1.ppm, NAME_img2.ppm and NAME_flow.flo.

A `.flo` file is the float32 number 202021.25, width and height as int32, then u and v (columns, rows) of
every pixel, all little-endian (the format of the Middlebury flow benchmark, which writes 1e9 or more for a
flow that is unknown).

Invariant: a pair that is drawn is complete; an incomplete file is named in the error.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from usert.errors import FormatError, OptionError

from ..state import one_line

FLO_MAGIC = 202021.25
FLO_UNKNOWN = 1e9


def read_flo(path: Path) -> NDArray[np.float32]:
    """Read a `.flo` file: flow float32 (2, N, M), along rows first, then along columns, in pixels.

    Errors: `FormatError` for a file that is missing, of another format, incomplete or of unknown flow.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != FLO_MAGIC:
        raise FormatError(f"{path}: not a .flo file, expected it to begin with the number {FLO_MAGIC}")
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, 4))
    if width <= 0 or height <= 0 or len(data) != 12 + 8 * width * height:
        raise FormatError(
            f"{path}: got {len(data)} bytes for {height} x {width} pixels, expected {12 + 8 * width * height}"
        )
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2)
    if not (np.abs(flow) < FLO_UNKNOWN).all():  # NaN is not below either
        raise FormatError(f"{path}: holds pixels of unknown flow, expected a finite one at every pixel")
    return np.ascontiguousarray(flow.transpose(2, 0, 1)[::-1], dtype=np.float32)


class FlowFolder:
    """The pairs of a folder, read when they are drawn. Errors: `OptionError` for a folder without a pair."""

    def __init__(self, folder: Path) -> None:
        self.names = sorted(path.name.removesuffix("_flow.flo") for path in folder.glob("*_flow.flo"))
        self.folder = folder
        if not self.names:
            raise OptionError(
                f"{folder}: no pair found, expected NAME_img1.ppm, NAME_img2.ppm and NAME_flow.flo"
            )

    def __len__(self) -> int:
        return len(self.names)

    def pair(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Read pair `k`: two images (3, N, M), mean 0 and deviation 1 over the pair, and flow (2, N, M) in pixels.

        Errors: `FormatError` for a file that is missing, broken or of another size.
        """
        name = self.names[k]
        flow = read_flo(self.folder / f"{name}_flow.flo")
        images = np.stack([self._image(f"{name}_img{i}.ppm", flow.shape[1:]) for i in (1, 2)])
        images = (images - images.mean()) / (images.std() + 1e-6)
        first, second = torch.from_numpy(images.astype(np.float32))
        return first, second, torch.from_numpy(flow)

    def draw(
        self, rng: np.random.Generator, *, batch: int, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a batch of random crops of `shape` (N, M): images (B, 3, N, M) twice, flow (B, 2, N, M) in pixels.

        Errors: `OptionError` for images smaller than the crop, `FormatError` as in `pair`.
        """
        crops = []
        for _ in range(batch):
            k = int(rng.integers(len(self)))
            parts = self.pair(k)
            rows, columns = parts[2].shape[1:]
            if rows < shape[0] or columns < shape[1]:
                raise OptionError(
                    f"{self.folder / self.names[k]}: got {rows} x {columns} pixels, expected at least the "
                    f"recipe's crop of {shape[0]} x {shape[1]}"
                )
            top = int(rng.integers(rows - shape[0] + 1))
            left = int(rng.integers(columns - shape[1] + 1))
            inside = (..., slice(top, top + shape[0]), slice(left, left + shape[1]))
            crops.append(tuple(part[inside] for part in parts))
        first, second, truth = (torch.stack(parts) for parts in zip(*crops, strict=True))
        return first, second, truth

    def _image(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        path = self.folder / name
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
        except (OSError, ValueError) as error:
            raise FormatError(f"{path}: cannot be read as an image: {one_line(error)}") from error
        rows, columns = pixels.shape[:2]
        if (rows, columns) != shape:
            raise FormatError(
                f"{path}: got {rows} x {columns} pixels, expected {shape[0]} x {shape[1]} as in the flow"
            )
        return pixels.transpose(2, 0, 1)
