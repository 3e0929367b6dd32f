"""The gate: an exported graph must say what torch says before anyone may use it.

Every file of a bundle is run by ONNX Runtime on simulated pairs with known truth, beside the torch graph it came
from. Knows nothing of how the file was made. Invariant: figures are maxima or root mean squares over all pairs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from usert.errors import BundleError
from usert.phantom.scanner import ScannerConfig, SimulatedScanner

from .graph import StrainGraph

PAIRS = ((2, 4), (9, 13))
"""Frames of the simulated scanner: about .2 and 1 % strain apart. Each is run whole, and with a corner masked."""
READABLE = 0.1
"""Quality below which, of a masked frame, displacement and strain are not compared: they mean nothing there."""
TOLERANCE_SAMPLES = 1e-3
"""Largest displacement difference between an exported graph and torch, both in float32."""
TOLERANCE_STRAIN = 1e-4
"""Largest difference of strain (fraction): 0.01 %."""
TOLERANCE_QUALITY = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What the gate measured for one graph."""

    max_abs_displacement_samples: float
    max_abs_strain: float
    max_abs_quality: float
    truth_rmse_samples: float
    """Axial displacement against the simulator's truth: the network's own error, not the export's."""


def compare(graph: StrainGraph, path: Path, shape: tuple[int, int]) -> Accuracy:
    """Run `path` and torch on frames of `shape`.

    Errors: `BundleError` when the file cannot be run or differs from torch by more than the tolerances.
    """
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=7)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(f"{path}: ONNX Runtime cannot open it: {str(error).splitlines()[0]}") from error
    worst = [0.0, 0.0, 0.0]
    errors = []
    corner = (slice(shape[0] // 2, None), slice(shape[1] // 2, None))
    for (i, j), masked in itertools.product(PAIRS, (False, True)):
        reference, current = scanner.frame(i).samples.copy(), scanner.frame(j).samples.copy()
        if masked:
            reference[corner] = current[corner] = 0
        got = session.run(None, {"reference": reference, "current": current})
        with torch.inference_mode():
            expected = [
                part.numpy() for part in graph(torch.from_numpy(reference), torch.from_numpy(current))
            ]
        for k in range(3):
            apart = np.abs(got[k] - expected[k])
            if masked and k < 2:
                apart = np.where(expected[2] > READABLE, apart, 0)
            worst[k] = max(worst[k], float(apart.max()))
        if not masked:
            errors.append(got[0][0] - scanner.truth(i, j)[0])
    accuracy = Accuracy(
        max_abs_displacement_samples=worst[0],
        max_abs_strain=worst[1],
        max_abs_quality=worst[2],
        truth_rmse_samples=float(np.sqrt(np.mean(np.square(errors)))),
    )
    for name, value, limit in (
        ("displacement (samples)", worst[0], TOLERANCE_SAMPLES),
        ("strain", worst[1], TOLERANCE_STRAIN),
        ("quality", worst[2], TOLERANCE_QUALITY),
    ):
        if not value <= limit:
            raise BundleError(
                f"{path.name}: refused: {name} differs from torch by {value:.2g}, allowed {limit:.2g}"
            )
    return accuracy
