"""The engine `torch`: what ONNX Runtime answers, coordinates in float32, and one CUDA graph a shape."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from usert.bundle import Bundle, default_bundle_path
from usert.commands import engine as command
from usert.commands.engine import open_named
from usert.errors import BundleError, EngineError
from usert.export import torch_engine
from usert.export.gate import tolerances
from usert.export.pair_graph import reference_graph
from usert.export.torch_engine import Replay, TorchEngine
from usert.frame import Scan
from usert.front_end import TYPICAL, graph_inputs
from usert.network.half import in_half
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines import open_engine
from usert.runtime.imaging.estimate import Estimate

BUNDLE = Bundle.load(default_bundle_path())
SHAPE = (384, 96)
FIELDS = ("displacement", "strain", "quality")


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    """An engine sets them for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def frames() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Scan]:
    scanner = SimulatedScanner(ScannerConfig(shape=SHAPE), seed=3)
    return scanner.frame(4).samples, scanner.frame(8).samples, scanner.scan


def by(name: str, precision: str) -> Estimate:
    with closing(open_named(BUNDLE, engine=name, threads=1, precision=precision)) as engine:
        return engine.run(*frames())


def test_it_answers_as_onnx_runtime_does() -> None:
    got, expected, limits = by("torch", "float32"), by("onnxruntime", "float32"), tolerances("float32")
    for field, figure in zip(FIELDS, ("displacement_samples", "strain", "quality"), strict=True):
        apart = np.abs(getattr(got, field) - getattr(expected, field))
        assert apart.max() <= limits[f"max_abs_{figure}"]


def test_float16_is_within_what_the_gate_allows_it() -> None:
    got, expected, limits = by("torch", "float16"), by("torch", "float32"), tolerances("float16")
    assert np.abs(got.displacement - expected.displacement).max() <= limits["max_abs_displacement_samples"]
    assert 100 * np.sqrt(np.mean((got.strain - expected.strain) ** 2)) <= limits["rms_strain_percent"]


class Dtypes(TorchDispatchMode):
    """The dtypes of convolutions, and of the points at which maps are sampled."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions: set[torch.dtype] = set()
        self.points: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if "conv" in name:
            self.convolutions.add(args[0].dtype)
        elif name.startswith("grid_sampler"):
            self.points.add(args[1].dtype)
        return func(*args, **(kwargs or {}))


class UnderAutocast(torch.nn.Module):
    """A network under autocast, as in training: what a GPU does in float16, a CPU does in bfloat16."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            found: Tensor = self.network(first, second)
            return found


@pytest.mark.parametrize(
    ("lowered", "kind"), [(in_half, torch.float16), (UnderAutocast, torch.bfloat16)], ids=["half", "autocast"]
)
def test_coordinates_stay_float32_whatever_the_convolutions_are(
    lowered: Callable[[Any], Any], kind: torch.dtype
) -> None:
    graph = reference_graph(BUNDLE)
    graph.motion.network = lowered(graph.motion.network)
    inputs = [torch.from_numpy(part) for part in graph_inputs("baseband", *frames()[:2], TYPICAL)]
    with torch.no_grad(), Dtypes() as seen:
        outputs = graph(*inputs)
    assert kind in seen.convolutions
    assert seen.points == {torch.float32}
    assert {part.dtype for part in outputs} == {torch.float32}


def test_nothing_in_the_graph_is_made_from_numbers_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a tensor is copied to the GPU, which cannot be captured; a number that is read back has no value here."""

    def made(*_: object, **__: object) -> None:
        raise AssertionError("a tensor was made from numbers of the CPU")

    graph = reference_graph(BUNDLE).to("meta")
    inputs = [torch.empty(SHAPE, dtype=torch.int16, device="meta") for _ in range(2)]
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)  # knows no such device
    for owner, name in (
        (torch, "tensor"), (torch, "as_tensor"), (torch, "from_numpy"), (Tensor, "new_tensor"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, made)
    with torch.inference_mode():
        outputs = graph(*inputs, torch.empty(192, device="meta"))
    assert [tuple(part.shape) for part in outputs] == [(2, *SHAPE), SHAPE, SHAPE]


class Recording:
    """Stands in for a CUDA graph: replays the last call of the function that was captured, into the same tensors."""

    made: int
    fails: bool

    def __init__(self) -> None:
        type(self).made += 1

    def replay(self) -> None:
        for place, part in zip(self.outputs, self.forward(*self.inputs), strict=True):
            place.copy_(part)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> type[Recording]:
    """The calls of CUDA that `Replay` makes, on the CPU."""

    class Here(Recording):
        made, fails = 0, False

    class Stream:
        def synchronize(self) -> None:
            pass

    @contextmanager
    def capture(recording: Here, *, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        with CallsOf(DOUBLED) as calls:
            yield
        if Here.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        recording.forward, recording.inputs, recording.outputs = DOUBLED, *calls[-1]

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Here)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(Tensor, "pin_memory", lambda part: part)
    move = Tensor.to
    monkeypatch.setattr(
        Tensor, "to", lambda part, where: part.clone() if where == "cuda" else move(part, where)
    )
    return Here


class Doubled:
    """A graph of one input, which counts the calls that are not replayed, and keeps them where asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Sequence[Tensor], Sequence[Tensor]]] = []

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        outputs = [2 * part for part in inputs]
        self.calls.append((inputs, outputs))
        return outputs


DOUBLED = Doubled()


@contextmanager
def CallsOf(graph: Doubled) -> Iterator[list[tuple[Sequence[Tensor], Sequence[Tensor]]]]:
    yield graph.calls


def test_frames_of_one_shape_are_captured_once_and_those_of_the_next_again(gpu: type[Recording]) -> None:
    replay = Replay(DOUBLED)
    kept = []
    for size, value in ((4, 1.0), (4, 2.0), (4, 3.0), (6, 4.0), (6, 5.0)):
        (got,) = replay(torch.full((size,), value))
        kept.append((got, torch.full((size,), 2 * value)))
    assert gpu.made == 2
    for got, expected in kept:  # none was written to again
        assert torch.equal(got, expected)


def test_what_cannot_be_captured_runs_step_by_step_and_is_logged_once(
    gpu: type[Recording], caplog: pytest.LogCaptureFixture
) -> None:
    gpu.fails = True
    replay = Replay(DOUBLED)
    with caplog.at_level(logging.WARNING):
        for size, value in ((4, 1.0), (4, 2.0), (6, 3.0)):
            (got,) = replay(torch.full((size,), value))
            assert torch.equal(got, torch.full((size,), 2 * value))
    assert [record.message for record in caplog.records] == [
        "torch: no CUDA graph, so each step is launched by itself: operation not permitted when stream is capturing"
    ]


def test_the_name_is_that_of_the_whole_graph_whatever_becomes_of_one_that_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", object)
    made: list[Replay] = []
    monkeypatch.setattr(torch_engine, "Replay", lambda run: made.append(Replay(run)) or made[-1])
    with closing(TorchEngine(BUNDLE, threads=1, device="cpu")) as engine:
        engine._device = torch.device("cuda")
        engine._open(BUNDLE.manifest.graphs[0], 1)
        engine._open(BUNDLE.manifest.follow[0], 1)
        whole, follows = made
        follows.captures = False
        assert engine.name == "torch cuda"
        whole.captures, follows.captures = False, True
        assert engine.name == "torch cuda, without a CUDA graph"


def test_other_precisions_and_an_absent_gpu_are_named() -> None:
    with pytest.raises(BundleError, match="got 'int8', expected float32 or float16"):
        TorchEngine(BUNDLE, precision="int8")
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="sees no GPU; install torch for your CUDA"):
            TorchEngine(BUNDLE, device="cuda")


def test_it_is_the_best_where_nothing_else_runs_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(
        open_engine(BUNDLE, reference=lambda: TorchEngine(BUNDLE, threads=1, device="cpu"))
    ) as engine:
        assert engine.name == "torch cpu"
    monkeypatch.setattr(command, "has_gpu", lambda: True)
    if not torch.cuda.is_available():  # the driver is there, and torch for the CPU
        with closing(open_named(BUNDLE, engine="best", threads=1, precision=None)) as engine:
            assert not engine.name.startswith("torch")
    monkeypatch.setattr(
        torch_engine, "TorchEngine", lambda bundle, device, **options: TorchEngine(bundle, **options)
    )
    with closing(open_named(BUNDLE, engine="best", threads=1, precision=None)) as engine:
        assert engine.name.startswith("torch")
