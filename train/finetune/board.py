"""The TensorBoard log of a training run: its losses, and strain pictures of a held-out pair."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from usert.errors import require
from usert.network.liteflownet import LiteFlowNet
from usert.recording import Recording
from usert.strain import STRAIN_WINDOW_SAMPLES, axial_strain

from .acceptance import estimate
from .selection import ChosenPair
from .training import StepReport


class Board:
    """A TensorBoard writer for one run; as a context manager it closes its files at the end."""

    def __init__(self, folder: Path, pair: ChosenPair) -> None:
        """`folder`: that of the run's state. `pair`: the held-out pair of the pictures. Errors: `MissingExtraError`."""
        require("tensorboard", "train")
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))
        self._pair = pair

    def step(self, report: StepReport) -> None:
        """Write the losses of one step."""
        values = {"loss": report.loss, "inliers": report.inliers, "gradient norm": report.gradient_norm}
        values |= {f"terms/{name}": value for name, value in report.terms.items()}
        for name, value in values.items():
            if not math.isnan(value):
                self._writer.add_scalar(name, value, report.step)

    def picture(self, network: LiteFlowNet, step: int, device: torch.device | str) -> None:
        """Write the strain of the held-out pair as estimated by `network` at `step`. Errors: `RecordingError`."""
        with Recording(self._pair.recording, as_rf=True) as recording:
            frames = [recording.frame(k).samples for k in (self._pair.reference, self._pair.current)]
            cycles = recording.scan.cycles_per_sample
        displacement, _ = estimate(network, *frames, cycles=cycles, device=device)
        self._writer.add_image("strain", picture(axial_strain(displacement[0], STRAIN_WINDOW_SAMPLES)), step)

    def close(self) -> None:
        """Close the files."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def picture(strain: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Grey levels uint8 (1, N', M) of a strain (N, M): black for 0, white for the 98th percentile of its magnitude.

    Rows are thinned to about M.
    """
    thin = strain[:: max(1, strain.shape[0] // max(strain.shape[1], 1))]
    magnitude = np.abs(np.nan_to_num(thin))
    top = float(np.percentile(magnitude, 98)) or 1.0
    grey: NDArray[np.uint8] = (255 * np.clip(magnitude / top, 0, 1)).astype(np.uint8)[None]
    return grey
