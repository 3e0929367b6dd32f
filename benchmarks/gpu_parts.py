"""What `gpu.py` measures in processes of its own: each function is a part and yields its rows.

Knows nothing of limits, files or the order of parts. Invariant: no time is taken of an answer that is not right.
"""

from __future__ import annotations

import importlib.util
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from usert.bundle import Bundle, default_bundle_path
from usert.export.pair_graph import PairGraph, reference_graph
from usert.export.torch_engine import Replay, TorchEngine
from usert.front_end import TYPICAL, graph_inputs
from usert.machine import cpu_name
from usert.network.half import in_half
from usert.runtime.engines.interface import TYPICAL_SCAN, noise_pair

Row = dict[str, Any]
Shape = tuple[int, int]
Run = Callable[[], Sequence[Tensor]]

NEEDED = ("safetensors", "h5py", "scipy", "typer", "rich", "prometheus_client", "zmq", "array_api_compat", "onnx",
          "onnxscript", "onnxruntime", "lightning", "lightning_fabric", "triton", "openvino", "tensorrt",
          "tensorrt_rtx", "pynvml")  # fmt: skip
"""Modules that parts want. Latency wants safetensors alone."""
APART = {"float32": 1e-3, "float16": 0.1, "bfloat16": 10.0}
"""Samples of displacement, at most, from float32 in eager mode; the third, as on a CPU, is only looked at."""


def machine(device: str, toy: bool) -> Iterator[Row]:
    """What is there, and how fast it multiplies and copies."""
    about: Row = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "cuda": torch.version.cuda,
        "missing": [name for name in NEEDED if importlib.util.find_spec(name) is None],
    }
    yield about
    size = 256 if toy else 8192
    for kind in (torch.float32, torch.bfloat16, torch.float16):
        a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
        ms = float(np.median(times(lambda a=a, b=b: [a @ b], device, 10)))
        yield {"product": str(kind).removeprefix("torch."), "TFLOP/s": 2 * size**3 / ms / 1e9}
    big = torch.empty((1 << 20) if toy else (1 << 32), dtype=torch.uint8, device=device)
    ms = float(np.median(times(lambda: [big.clone()], device, 10)))
    yield {"copy GB/s": 2 * big.numel() / ms / 1e6}


def pair(shape: Shape) -> list[Tensor]:
    """A graph's inputs: a pair of the simulated scanner, or where that cannot be had of noise."""
    try:
        from usert.phantom.scanner import ScannerConfig, SimulatedScanner
    except ModuleNotFoundError:
        frames = noise_pair(shape)[:2]
    else:
        press = min(0.01, 10.0 / shape[0])
        scanner = SimulatedScanner(ScannerConfig(shape=shape, peak_strain=press), seed=7)
        frames = scanner.frame(2).samples, scanner.frame(8).samples
    return [torch.from_numpy(part) for part in graph_inputs("baseband", *frames, TYPICAL)]


class UnderAutocast(nn.Module):
    """A network under autocast; what is before and after it, coordinates among it, stays float32."""

    def __init__(self, network: nn.Module, kind: torch.dtype, device: str) -> None:
        super().__init__()
        self.network, self.kind, self.device = network, kind, device

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        with torch.autocast(self.device, self.kind):
            found: Tensor = self.network(first, second)
            return found


def with_network(change: Callable[[Any], nn.Module]) -> PairGraph:
    graph = reference_graph(Bundle.load(default_bundle_path(), verify=False))
    graph.motion.network = change(graph.motion.network)  # type: ignore[assignment]
    return graph


def session(
    graph: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], device: str, captures: bool
) -> Run:
    """A run of a pair from the CPU's memory to the CPU's memory."""
    if device == "cuda":
        return partial(Replay(graph, captures=captures), *inputs)
    return partial(graph, *inputs)


def latency(device: str, toy: bool, rows: int, lines: int) -> Iterator[Row]:
    """Torch in eager mode and as one CUDA graph, in float32, under autocast and in halves."""
    halves = (torch.bfloat16,) if toy else (torch.float16, torch.bfloat16)
    ways: list[tuple[str, Callable[[Any], nn.Module], bool]] = [
        ("eager float32", lambda network: network, False),
        *(
            (f"eager autocast {str(kind)[6:]}", partial(UnderAutocast, kind=kind, device=device), False)
            for kind in halves
        ),
        ("eager float16", in_half, False),
        ("graph float32", lambda network: network, True),
        ("graph float16", in_half, True),
        ("graph float16 channels last", lambda n: in_half(n).to(memory_format=torch.channels_last), True),
    ]  # fmt: skip
    yield from timed_ways(ways, device, toy, (rows, lines), lambda graph: graph)
    yield from engine_row(device, toy, (rows, lines))
    yield from steps(device, toy, (rows, lines))


def compiled(device: str, toy: bool, rows: int, lines: int) -> Iterator[Row]:
    """`torch.compile`: of the network alone, then of all, then as it captures CUDA graphs itself."""
    network = partial(torch.compile, dynamic=False)
    whole = partial(torch.compile, dynamic=False)
    reduced = partial(torch.compile, dynamic=False, mode="reduce-overhead")
    kind = (lambda n: n) if toy else in_half  # a CPU compiles halves badly
    shape = rows, lines
    ways = [("graph, network compiled", lambda n: network(kind(n)), True)]
    yield from timed_ways(ways, device, toy, shape, lambda graph: graph)
    yield from timed_ways([("graph, all compiled", kind, True)], device, toy, shape, whole)
    yield from timed_ways([("all compiled, reduce-overhead", kind, False)], device, toy, shape, reduced)


def timed_ways(
    ways: Sequence[tuple[str, Callable[[Any], nn.Module], bool]],
    device: str,
    toy: bool,
    shape: Shape,
    wrap: Callable[[Any], Any],
) -> Iterator[Row]:
    inputs = pair(shape)
    with torch.inference_mode():
        plain = with_network(lambda network: network).to(device)
        expected = [part.cpu() for part in plain(*(part.to(device) for part in inputs))]
    del plain
    for name, change, captures in ways:
        begin = time.perf_counter()
        row: Row = {"shape": f"{shape[0]}x{shape[1]}", "way": name}
        try:
            with torch.inference_mode():
                if device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                run = session(wrap(with_network(change).to(device)), inputs, device, captures)
                got = run()
                row |= {"first s": time.perf_counter() - begin} | apart(got, expected, name)
                row |= percentiles(times(run, device, 5 if toy else 60, seconds=1 if toy else 4))
            if captures and device == "cuda":
                row["captured"] = run.func._recording is not None  # type: ignore[attr-defined]
            if device == "cuda":
                row["peak MiB"] = torch.cuda.max_memory_allocated() / 2**20
        except Exception as error:  # one way that fails costs itself only
            row["error"] = (
                f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            )
        yield row


def engine_row(device: str, toy: bool, shape: Shape) -> Iterator[Row]:
    """The engine as a server runs it: checks, conversion and all."""
    engine = TorchEngine(Bundle.load(default_bundle_path(), verify=False), threads=1, device=device)
    first, second, _ = noise_pair(shape)
    run = partial(engine.run, first, second, TYPICAL_SCAN)
    run()
    ms = times(run, "cpu", 5 if toy else 60, seconds=1 if toy else 4)
    yield {"shape": f"{shape[0]}x{shape[1]}", "way": f"engine {engine.name}"} | percentiles(ms)


def steps(device: str, toy: bool, shape: Shape) -> Iterator[Row]:
    """Operations, and with a GPU its kernels by their share of the time: what to work on afterwards."""
    from torch.utils.flop_counter import FlopCounterMode

    inputs = [part.to(device) for part in pair(shape)]
    graph = with_network((lambda n: n) if toy else in_half).to(device)
    row: Row = {"shape": f"{shape[0]}x{shape[1]}", "way": "steps"}
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            graph(*inputs)
        row["GFLOP"] = counter.get_total_flops() / 1e9
        kinds = [getattr(torch.profiler.ProfilerActivity, device.upper())]
        with torch.profiler.profile(activities=kinds) as profile:
            graph(*inputs)
            synchronise(device)
    busy = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    found = sorted(profile.key_averages(), key=lambda event: -getattr(event, busy))
    row["kernels"] = sum(event.count for event in found)
    row["busy ms"] = sum(getattr(event, busy) for event in found) / 1e3
    row["longest"] = [[e.key[:60], e.count, round(getattr(e, busy) / 1e3, 3)] for e in found[:12]]
    yield row


def fine_tuning(device: str, toy: bool, rows: int, lines: int, precision: str) -> Iterator[Row]:
    """Memory and time of one step of unsupervised fine-tuning, with and without checkpoints; as `memory.py`."""
    import memory
    from training_step import Step

    step = Step((rows, lines), device, precision)
    variants = memory.VARIANTS[:2] if toy else memory.VARIANTS
    for variant in variants:
        row = {"shape": f"{rows}x{lines} {precision}", "way": variant.name}
        try:
            row |= memory.memory(step, variant)
            seconds = []
            for _ in range(2 if toy else 5):
                step.zero_grad()
                step.synchronise()
                begin = time.perf_counter()
                step.whole(variant)
                step.synchronise()
                seconds.append(time.perf_counter() - begin)
            row |= percentiles([1e3 * s for s in seconds])
        except torch.OutOfMemoryError as error:
            row["error"] = str(error).splitlines()[0]
        yield row


def apart(got: Sequence[Tensor], expected: Sequence[Tensor], name: str) -> Row:
    """Largest differences from float32. Errors: `ValueError` where they are more than the precision explains."""
    limit = APART[next(kind for kind in (*APART, "float16") if kind in name or kind == "float16")]
    limit = APART["bfloat16"] if "bfloat16" in name else limit
    away = float((got[0] - expected[0]).abs().max())
    if not away <= limit:
        raise ValueError(
            f"displacement differs from float32 by {away:.2g} samples, expected at most {limit:g}"
        )
    return {"apart samples": away, "apart strain %": 100 * float((got[1] - expected[1]).abs().max())}


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def times(run: Callable[[], Any], device: str, count: int, *, seconds: float = 60.0) -> list[float]:
    """Milliseconds of runs in a row after one to warm up: `count` of them, or as many as go into `seconds`."""
    run()
    synchronise(device)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 3 or (len(found) < count and time.perf_counter() < end):
        begin = time.perf_counter()
        run()
        synchronise(device)
        found.append(1e3 * (time.perf_counter() - begin))
    return found


def percentiles(ms: Sequence[float]) -> Row:
    return {f"p{share} ms": float(np.percentile(ms, share)) for share in (50, 90, 99)} | {"runs": len(ms)}
