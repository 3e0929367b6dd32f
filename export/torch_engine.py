"""The engine `torch`: the reference to compare the others with, and the engine of a GPU on which no other library runs.

It runs the module that graphs are exported from, in float32 as the reference, and on a GPU in float16 as exported in
that precision: features, costs and convolutions in halves; flow, coordinates, refinement and strain in float32
(`usert.network.half`). Some ten thousand small steps make a pair, so on a GPU they are captured as one CUDA graph.

Knows nothing of ONNX. Invariant: float32 is never computed as TF32 or half.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from usert.bundle import Bundle
from usert.bundle.manifest import Graph
from usert.errors import BundleError, EngineError
from usert.frame import Shape
from usert.network.half import in_half
from usert.runtime.engines.bundle_engine import GraphEngine, Inputs, Session, first_line

from .baseband_graph import BasebandGraph, FollowGraph
from .pair_graph import reference_graph

PRECISIONS = ("float32", "float16")
Forward = Callable[..., Sequence[Tensor]]
"""A graph, from tensors on its device to displacement, strain and quality."""
_WARM_UPS = 3
"""Runs before a capture, in which the libraries choose their kernels and take their memory."""
_log = logging.getLogger(__name__)


class TorchEngine(GraphEngine):
    """An engine of a bundle's weights in torch, on the GPU if there is one; frames of any shape."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        precision: str | None = None,
        device: str | None = None,
        compiled: bool = False,
    ) -> None:
        """`threads` counts for the whole process: torch has one pool. `precision`: None for float16 on a GPU and
        float32 on the CPU. `device`: `cuda` or `cpu`; None for the GPU if there is one. `compiled`: whether
        `torch.compile` makes kernels for each shape, which takes minutes.

        Errors: `BundleError` for another precision; `EngineError` for `cuda` without a GPU.
        """
        if precision not in (None, *PRECISIONS):
            raise BundleError(
                f"precision: got {precision!r}, expected {' or '.join(PRECISIONS)} of engine torch"
            )
        if device == "cuda" and not torch.cuda.is_available():
            raise EngineError(f"torch {torch.__version__}: sees no GPU; install torch for your CUDA")
        super().__init__(bundle, threads=threads)
        torch.set_num_threads(self._threads)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._half = precision == "float16" or (precision is None and self._device.type == "cuda")
        graph = reference_graph(bundle).to(self._device)
        if self._half:
            graph.motion.network = in_half(graph.motion.network)
        self._graph = graph
        self._forward: Forward = torch.compile(graph, dynamic=False) if compiled else graph
        self._replay: Replay | None = None
        """The whole graph on the GPU, which the name is about; what follows is another."""

    @property
    def name(self) -> str:
        stepwise = self._replay is not None and not self._replay.captures
        precision = " float16" if self._half else ""
        return f"torch {self._device.type}{precision}{', without a CUDA graph' if stepwise else ''}"

    def _fit(self, shape: Shape, cycles: float | None) -> tuple[Graph, Shape]:
        return self._bundle.manifest.graphs[0], shape

    def _fit_to_follow(self, shape: Shape, cycles: float | None) -> tuple[Graph, Shape]:
        if not self._bundle.manifest.follow:
            raise BundleError(
                f"{self.name}: got a bundle without graphs that follow; export it with --follow"
            )
        return self._bundle.manifest.follow[0], shape

    def _open(self, graph: Graph, at_once: int) -> Session:
        run = self._forward
        follows = graph in self._bundle.manifest.follow
        if follows and isinstance(self._graph, BasebandGraph):
            run = FollowGraph(self._graph)
        if self._device.type == "cuda":
            run = replay = Replay(run)
            if not follows:
                self._replay = replay

        def session(inputs: Inputs) -> Sequence[NDArray[np.float32]]:
            with torch.inference_mode():
                parts = [torch.from_numpy(array) for array in inputs]
                return [part.numpy() for part in run(*parts)]

        return session


class Replay:
    """A graph on the GPU: captured as a CUDA graph for the shapes of its inputs, and replayed while those stay.

    Frames go up and images come down through page-locked memory, in a stream of its own. What cannot be captured is
    logged once, and runs step by step.
    """

    def __init__(self, forward: Forward, *, captures: bool = True) -> None:
        """`captures`: whether to try to capture; else each step is launched by itself."""
        self._forward = forward
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._shapes: list[torch.Size] = []
        self._recording: torch.cuda.CUDAGraph | None = None
        self._pinned: list[Tensor] = []
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._results: list[Tensor] = []
        self.captures = captures
        """Whether frames are still to be captured, or one try has failed."""

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """The outputs for `inputs`, both in the memory of the CPU, in arrays that are not written to again."""
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
        with torch.cuda.stream(self._stream), exact:
            shapes = [part.shape for part in inputs]
            if shapes != self._shapes:
                self._shapes = []
                self._prepare(inputs)
                self._shapes = shapes
            for pinned, place, part in zip(self._pinned, self._inputs, inputs, strict=True):
                pinned.copy_(part)
                place.copy_(pinned, non_blocking=True)
            if self._recording is None:
                self._outputs = list(self._forward(*self._inputs))
            else:
                self._recording.replay()
            for pinned, part in zip(self._results, self._outputs, strict=True):
                pinned.copy_(part, non_blocking=True)
            self._stream.synchronize()
            return [pinned.clone() for pinned in self._results]

    def _prepare(self, inputs: Sequence[Tensor]) -> None:
        """Take memory for inputs of these shapes, warm up, and capture."""
        self._recording = None
        self._pinned = [torch.empty_like(part).pin_memory() for part in inputs]
        self._inputs = [part.to("cuda") for part in inputs]
        for _ in range(_WARM_UPS):
            self._outputs = list(self._forward(*self._inputs))
        self._results = [torch.empty_like(part, device="cpu").pin_memory() for part in self._outputs]
        self._stream.synchronize()
        if not self.captures:
            return
        recording = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(recording, stream=self._stream, capture_error_mode="thread_local"):
                self._outputs = list(self._forward(*self._inputs))
        except RuntimeError as error:
            self.captures = False
            _log.warning("torch: no CUDA graph, so each step is launched by itself: %s", first_line(error))
            self._outputs = list(self._forward(*self._inputs))
        else:
            self._recording = recording
