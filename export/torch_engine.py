"""The engine `torch`: the reference to compare the others with, and for GPUs that no other library runs on.

Knows nothing of ONNX. Invariant: it computes in float32, whatever the bundle's graphs do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.bundle.manifest import Graph
from usert.errors import BundleError
from usert.frame import Shape
from usert.runtime.engines.bundle_engine import GraphEngine, Inputs, Session

from .verify import reference_graph


class TorchEngine(GraphEngine):
    """An engine of a bundle's weights in torch, on the GPU if there is one; frames of any shape."""

    def __init__(self, bundle: Bundle, *, threads: int | None = None, precision: str | None = None) -> None:
        """`threads` counts for the whole process: torch has one pool."""
        if precision not in (None, "float32"):
            raise BundleError(f"precision: got {precision!r}, expected float32, the only one of engine torch")
        super().__init__(bundle, threads=threads)
        torch.set_num_threads(self._threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._graph = reference_graph(bundle).to(self._device)

    @property
    def name(self) -> str:
        return f"torch {self._device.type}"

    def _fit(self, shape: Shape, cycles: float | None) -> tuple[Graph, Shape]:
        return self._bundle.manifest.graphs[0], shape

    def _open(self, graph: Graph) -> Session:
        def run(inputs: Inputs) -> Sequence[NDArray[np.float32]]:
            with torch.inference_mode():
                parts = (torch.from_numpy(array).to(self._device) for array in inputs)
                return [part.cpu().numpy() for part in self._graph(*parts)]

        return run
