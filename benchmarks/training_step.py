"""One step of unsupervised fine-tuning, and meters of the memory that it takes; for `memory.py`.

Knows nothing of what is compared with what. Invariant: a step is a backward flow, a forward flow with gradients, a
loss on the latter and its backward pass, on frames and weights that are the same each time.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor

from usert.bundle import default_bundle_path
from usert.errors import UsertError
from usert.network.channels import Channels
from usert.network.checkpoint import Checkpointing
from usert.network.liteflownet import FLOW_SCALE, LiteFlowNet
from usert.network.warp import warp
from usert.network.weights import load_weights
from usert.phantom.scanner import ScannerConfig, SimulatedScanner


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A way to do the step."""

    mode: Checkpointing
    both: bool = False
    """The backward flow carries gradients, too."""

    @property
    def name(self) -> str:
        return f"{self.mode}, both flows with gradients" if self.both else self.mode


class Step:
    """Network, frames and loss of one training step."""

    def __init__(self, shape: tuple[int, int], device: str, precision: str) -> None:
        config = ScannerConfig(shape=shape, peak_strain=0.01)
        scanner = SimulatedScanner(config, seed=0)
        frames = [
            torch.from_numpy(scanner.frame(k).samples)[None].to(device)
            for k in (0, config.period_frames // 2)
        ]
        with torch.no_grad():
            self.first, self.second = Channels().to(device)(*frames)
        self.network: LiteFlowNet = load_weights(default_bundle_path() / "weights.safetensors").to(device)
        self.network.train()
        self.device, self.precision = device, precision

    def zero_grad(self) -> None:
        self.network.zero_grad(set_to_none=False)

    def backward_flow(self, variant: Variant) -> Tensor:
        self.network.checkpointing = variant.mode
        with torch.set_grad_enabled(variant.both):
            return self._flow(self.second, self.first)

    def loss(self, backward: Tensor) -> Tensor:
        forward = self._flow(self.first, self.second)
        value = self._cost(self.first, self.second, forward)
        apart = charbonnier(forward + backward).mean()
        return (
            value + apart + (self._cost(self.second, self.first, backward) if backward.requires_grad else 0)
        )

    def whole(self, variant: Variant) -> float:
        loss = self.loss(self.backward_flow(variant))
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def gradients(self) -> Tensor:
        return torch.cat([p.grad.flatten().double() for p in self.network.parameters() if p.grad is not None])

    def synchronise(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _flow(self, first: Tensor, second: Tensor) -> Tensor:
        """The last output on its own grid, axial first, in pixels of the frame."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.network.cascade(first, second)[-1][2].float().flip(1) * FLOW_SCALE

    @staticmethod
    def _cost(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
        size = (first.shape[2], first.shape[3])
        whole = functional.interpolate(flow, size=size, mode="bilinear", align_corners=False)
        cost = charbonnier(first - warp(second, whole.flip(1))).mean()
        for axis in (2, 3):
            cost = cost + 0.1 * charbonnier(flow.diff(dim=axis)).mean()
        return cost


def charbonnier(x: Tensor) -> Tensor:
    return (x.square() + 1e-6) ** 0.5


class RssMeter:
    """Resident memory of this process on Linux."""

    def __init__(self) -> None:
        with suppress(OSError, AttributeError):  # another C library keeps its own counsel
            ctypes.CDLL(None).malloc_trim(0)
        self.base = self._status("VmRSS")
        self._reset()

    def peak(self) -> int:
        """Bytes above the base since the last call."""
        value = self._status("VmHWM") - self.base
        self._reset()
        return value

    @staticmethod
    def _reset() -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    @staticmethod
    def _status(key: str) -> int:
        found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
        if found is None:
            raise UsertError(f"/proc/self/status has no {key}: memory on a CPU is measured on Linux only")
        return int(found[1]) * 1024


class CudaMeter:
    """Memory that torch's allocator has given out."""

    def __init__(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        self.base = torch.cuda.memory_allocated()

    def peak(self) -> int:
        torch.cuda.synchronize()
        value = torch.cuda.max_memory_allocated() - self.base
        torch.cuda.reset_peak_memory_stats()
        return value


@contextmanager
def saved_bytes(network: LiteFlowNet) -> Iterator[Callable[[], int]]:
    """Gives a function that says how many bytes autograd holds of what was computed since."""
    sizes: dict[int, int] = {}
    known = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output kept as it is would keep itself alive

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        yield lambda: sum(sizes.values())
