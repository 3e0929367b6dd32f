"""The part of CUDA that an engine needs: host and device memory, a stream, and work captured as a CUDA graph.

Uses `cuda.bindings.runtime` on the process's first GPU. Invariant: resources are released once, by `close`, which never
fails; a call that fails raises an `EngineError` that names it.

Ownership: everything belongs to one thread at a time; stream and memory are shared with no other engine. `host` of a
`Mirror` is freed by `close`, so arrays in it are never returned to a caller.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import EngineError, require

ALIGNMENT = 256
"""Alignment in bytes: what `cudaMalloc` gives and TensorRT expects of every tensor's address."""


class Cuda:
    """The CUDA runtime of this process."""

    def __init__(self, extra: str) -> None:
        """`extra`: the extra that installs it. Errors: `MissingExtraError`, `EngineError` where it cannot be loaded."""
        self.api: Any = load("cuda.bindings.runtime", extra)

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the runtime; returns its results without the status. Errors: `EngineError`."""
        status, *results = getattr(self.api, function)(*arguments)
        if status != self.api.cudaError_t.cudaSuccess:
            name, text = (
                ask(status)[1].decode() for ask in (self.api.cudaGetErrorName, self.api.cudaGetErrorString)
            )
            raise EngineError(f"CUDA: {function}: {name}: {text}")
        return results[0] if results else None


class Mirror:
    """A buffer in pinned host memory, `host`, and one of equal size on the device, at address `device`."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda = cuda
        with ExitStack() as taken:
            pinned = int(cuda.call("cudaMallocHost", size))
            taken.callback(cuda.api.cudaFreeHost, pinned)
            self.device = int(cuda.call("cudaMalloc", size))
            taken.callback(cuda.api.cudaFree, self.device)
            self._taken = taken.pop_all()
        self._pinned = pinned
        self.host: NDArray[np.uint8] = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pinned))

    def upload(self, size: int, stream: Stream) -> None:
        """Enqueue a copy of the first `size` bytes to the device."""
        kind = self._cuda.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._cuda.call("cudaMemcpyAsync", self.device, self._pinned, size, kind, stream.handle)

    def download(self, size: int, stream: Stream) -> None:
        """Enqueue a copy of the first `size` bytes from the device."""
        kind = self._cuda.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._cuda.call("cudaMemcpyAsync", self._pinned, self.device, size, kind, stream.handle)

    def close(self) -> None:
        self.host = np.empty(0, np.uint8)
        self._taken.close()


class Stream:
    """A stream whose work for a frame is captured once and then replayed."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.handle: Any = cuda.call("cudaStreamCreateWithFlags", cuda.api.cudaStreamNonBlocking)
        self._recording: Any = None
        self._tried = False

    def repeat(self, work: Callable[[], None], can_record: Callable[[], bool]) -> None:
        """Run the work that `work` enqueues, which must be the same every time until `forget`, and wait for it.

        The first run enqueues it directly, as libraries need before a capture; then it is captured, if it can be.
        Errors: `EngineError`.
        """
        if self._recording is not None:
            self._cuda.call("cudaGraphLaunch", self._recording, self.handle)
        else:
            work()
        self._cuda.call("cudaStreamSynchronize", self.handle)
        if not self._tried:
            self._tried = True
            if can_record():
                self._recording = self._recorded(work)

    def forget(self) -> None:
        """Drop the captured work, since other work comes next."""
        if self._recording is not None:
            self._cuda.api.cudaGraphExecDestroy(self._recording)
        self._recording, self._tried = None, False

    def _recorded(self, work: Callable[[], None]) -> Any:
        """A CUDA graph of `work`, ready to launch; None where it cannot be captured, which is not an error."""
        api, made = self._cuda.api, None
        self._cuda.call(
            "cudaStreamBeginCapture", self.handle, api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        )
        whole = False
        try:
            with suppress(EngineError):
                work()
                whole = True
        finally:  # what was begun is ended, whatever becomes of it
            status, graph = api.cudaStreamEndCapture(self.handle)
        if status == api.cudaError_t.cudaSuccess:
            with suppress(EngineError):
                made = self._cuda.call("cudaGraphInstantiate", graph, 0) if whole else None
            api.cudaGraphDestroy(graph)
        if made is not None:
            api.cudaGraphUpload(made, self.handle)  # else the first launch does it, a live frame's
        api.cudaGetLastError()  # else a later call would report what was given up here
        return made

    def close(self) -> None:
        if self.handle is not None:
            self._cuda.api.cudaStreamSynchronize(self.handle)
            self.forget()
            self._cuda.api.cudaStreamDestroy(self.handle)
            self.handle = None


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a tensor in a buffer."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def end(self) -> int:
        """Bytes from the start of the buffer to the end of the tensor."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def of(self, buffer: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor as a view of `buffer`."""
        return buffer[self.offset : self.end].view(self.dtype).reshape(self.shape)


def side_by_side(tensors: Mapping[str, tuple[tuple[int, ...], str]]) -> dict[str, Place]:
    """Aligned consecutive places for tensors of these shapes and dtypes."""
    places: dict[str, Place] = {}
    end = 0
    for name, (shape, dtype) in tensors.items():
        places[name] = Place(-(-end // ALIGNMENT) * ALIGNMENT, shape, np.dtype(dtype))
        end = places[name].end
    return places


def load(module: str, extra: str) -> Any:
    """Import `module`, whose libraries may be missing. Errors: `MissingExtraError`, `EngineError`."""
    try:
        return require(module, extra)
    except (ImportError, OSError, RuntimeError) as error:
        said = str(error).strip().splitlines()
        raise EngineError(
            f"{module}: cannot be loaded: {said[0] if said else type(error).__name__}; "
            f"install it again: pip install --force-reinstall 'usert[{extra}]'"
        ) from error
