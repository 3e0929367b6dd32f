"""The little of CUDA that an engine needs: memory on both sides of the bus, a stream, work recorded as a CUDA graph.

Over `cuda.bindings.runtime`, on the process's first GPU. Knows nothing of frames or of who computes. Invariant: what
was taken is given back once, by `close`, which never fails; and a call that fails is an `EngineError` that names it.

Ownership: all of it belongs to one thread at a time; a stream and memory are shared with no other engine. `host` of a
`Mirror` ends with `close`, so arrays of it are never handed out.
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
"""Bytes; what `cudaMalloc` gives and TensorRT expects of every tensor's address."""


class Cuda:
    """The CUDA runtime of this process."""

    def __init__(self, extra: str) -> None:
        """Starts nothing. Errors: `MissingExtraError` with `extra`, `EngineError` where it cannot be loaded."""
        self.api: Any = load("cuda.bindings.runtime", extra)

    def call(self, function: str, *arguments: Any) -> Any:
        """What a function of the runtime gives beside its status. Errors: `EngineError`, in one line."""
        status, *results = getattr(self.api, function)(*arguments)
        if status != self.api.cudaError_t.cudaSuccess:
            name, text = (
                ask(status)[1].decode() for ask in (self.api.cudaGetErrorName, self.api.cudaGetErrorString)
            )
            raise EngineError(f"CUDA: {function}: {name}: {text}")
        return results[0] if results else None


class Mirror:
    """As many bytes in pinned memory of the host as on the device: `host` and the address `device`."""

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
        """The first `size` bytes to the device, when their turn comes in `stream`."""
        kind = self._cuda.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._cuda.call("cudaMemcpyAsync", self.device, self._pinned, size, kind, stream.handle)

    def download(self, size: int, stream: Stream) -> None:
        """The first `size` bytes from the device, when their turn comes in `stream`."""
        kind = self._cuda.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._cuda.call("cudaMemcpyAsync", self._pinned, self.device, size, kind, stream.handle)

    def close(self) -> None:
        self.host = np.empty(0, np.uint8)
        self._taken.close()


class Stream:
    """Work in order, apart from all other streams; the work of a frame is recorded once and then played again."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self.handle: Any = cuda.call("cudaStreamCreateWithFlags", cuda.api.cudaStreamNonBlocking)
        self._recording: Any = None
        self._tried = False

    def repeat(self, work: Callable[[], None], can_record: Callable[[], bool]) -> None:
        """Have done what `work` puts into the stream, the same every time until `forget`.

        The first time it is put in as it is, which libraries need before they can be recorded; then it is recorded,
        if it can be. Errors: `EngineError`.
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
        """Other work comes next."""
        if self._recording is not None:
            self._cuda.api.cudaGraphExecDestroy(self._recording)
        self._recording, self._tried = None, False

    def _recorded(self, work: Callable[[], None]) -> Any:
        """A CUDA graph of `work`, ready to be launched; None where it cannot be recorded, which is no error."""
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
    """Where a tensor lies in a buffer."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def of(self, buffer: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor in `buffer`, which it shares memory with."""
        return buffer[self.offset : self.end].view(self.dtype).reshape(self.shape)


def side_by_side(tensors: Mapping[str, tuple[tuple[int, ...], str]]) -> dict[str, Place]:
    """Places one after the other, in order, for tensors of these shapes and dtypes; every one begins aligned."""
    places: dict[str, Place] = {}
    end = 0
    for name, (shape, dtype) in tensors.items():
        places[name] = Place(-(-end // ALIGNMENT) * ALIGNMENT, shape, np.dtype(dtype))
        end = places[name].end
    return places


def load(module: str, extra: str) -> Any:
    """`module`, whose libraries may be missing although it is installed. Errors: `MissingExtraError`, `EngineError`."""
    try:
        return require(module, extra)
    except (ImportError, OSError, RuntimeError) as error:
        said = str(error).strip().splitlines()
        raise EngineError(
            f"{module}: cannot be loaded: {said[0] if said else type(error).__name__}; "
            f"install it again: pip install --force-reinstall 'usert[{extra}]'"
        ) from error
