"""TensorRT, or TensorRT for RTX, as an engine: one upload and one download a frame, in one CUDA graph.

The two libraries have one interface; which one is used is a parameter. Plans are built by
`usert.export.tensorrt_graph`. Invariant: a plan runs only with the library, the version and the GPU that it was built
for; others are rejected by name before they are opened.

A plan takes the bytes of the frames, uint8 (N, M, 2), little-endian, since TensorRT has no int16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.bundle.manifest import Plan
from usert.errors import EngineError
from usert.frame import Shape
from usert.front_end import CYCLES_PER_SAMPLE, TYPICAL, grid_rows
from usert.machine import gpu_name

from .bundle_engine import DEPTHS, FRAMES, OUTPUTS, BundleEngine, Inputs, Session
from .cuda import Cuda, Mirror, Place, Stream, load, side_by_side
from .plan_choice import EXTRAS, choose_plan, usable_plans


class TensorRtEngine(BundleEngine[Plan]):
    """The plans of a bundle that run here, with one session each; `threads` has no effect."""

    preferred = ("float16", "float32")

    def __init__(
        self,
        bundle: Bundle,
        *,
        module: str = "tensorrt",
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        """Allocates nothing on the GPU yet. Errors: `MissingExtraError`; `EngineError` where no plan runs here."""
        super().__init__(bundle, threads=threads, precision=precision)
        self._trt: Any = load(module, EXTRAS[module])
        self._gpu, version = gpu_name(), str(self._trt.__version__)
        self._plans = usable_plans(
            bundle.manifest, library=module, version=version, gpu=self._gpu, precisions=self._precisions
        )
        self._cuda = Cuda(EXTRAS[module])
        self._module = module
        self._opened = ExitStack()

    @property
    def name(self) -> str:
        return f"{self._module} {self._gpu}"

    def open_one(self) -> None:
        self._session(self._plans[0], self._plans[0].most, ())

    def _fit(self, shape: Shape, cycles: float | None) -> tuple[Plan, Shape]:
        return choose_plan(self._plans, shape)

    def _open(self, plan: Plan, at_once: int) -> Session:
        try:
            depths = grid_rows(plan.most[0], CYCLES_PER_SAMPLE[1]) if self._front_end == "baseband" else None
            if depths is not None and plan.least == plan.most:
                depths = grid_rows(plan.most[0], TYPICAL)
            session = PlanSession(self._trt, self._cuda, self._bundle.path_of(plan), plan.most, depths)
        except EngineError as error:
            raise EngineError(f"{self.name}: cannot open {plan.file}: {error}") from error
        return self._opened.enter_context(closing(session)).run

    def close(self) -> None:
        self._opened.close()
        super().close()


class PlanSession:
    """One plan on the GPU, with memory for the largest frames that it takes.

    Frames of a new shape rebind the tensors, and their CUDA graph replaces the last.
    """

    def __init__(self, trt: Any, cuda: Cuda, path: Path, most: Shape, depths: int | None = None) -> None:
        """`most`: shape of the largest frames. `depths`: rows of the largest depth grid, if the plan takes one.

        Errors: `EngineError`, with all resources released.
        """
        self._log = listener(trt)
        self._shape: tuple[Shape, int | None] | None = None
        self._context: Any = None
        self._engine: Any = None
        with ExitStack() as taken:
            self._up = taken.enter_context(closing(Mirror(cuda, end_of(input_places(most, depths)))))
            self._down = taken.enter_context(closing(Mirror(cuda, end_of(output_places(most)))))
            self._stream = taken.enter_context(closing(Stream(cuda)))
            taken.callback(self._drop)
            self._runtime = trt.Runtime(self._log)
            self._engine = read_plan(self._runtime, self._log, path)
            check_tensors(tensors_of(self._engine), depths is not None)
            self._context = self._made_context(trt)
            self._bind(most, depths)
            self._taken = taken.pop_all()

    def run(self, inputs: Inputs) -> Sequence[NDArray[np.float32]]:
        shape = inputs[0].shape[0], inputs[0].shape[1]
        depths = inputs[2].shape[0] if len(inputs) > 2 else None
        if (shape, depths) != self._shape:
            self._bind(shape, depths)
        for place, array in zip(self._inputs.values(), inputs, strict=True):
            np.copyto(place.of(self._up.host), array)
        self._stream.repeat(self._work, self._can_record)
        self._log.complaint()  # of a recording that was given up
        return [place.of(self._down.host).copy() for place in self._outputs.values()]

    def _work(self) -> None:
        """Enqueue upload, execution and download of a frame."""
        self._up.upload(end_of(self._inputs), self._stream)
        self._demand(self._context.execute_async_v3(int(self._stream.handle)), "execution")
        self._down.download(end_of(self._outputs), self._stream)

    def _can_record(self) -> bool:
        """Whether a capture may be tried; TensorRT for RTX knows beforehand."""
        known = getattr(self._context, "is_stream_capturable", None)
        return known is None or bool(known(int(self._stream.handle)))

    def _bind(self, shape: Shape, depths: int | None) -> None:
        """Set the shapes and the addresses of the tensors in TensorRT."""
        self._shape = None
        self._stream.forget()
        self._inputs, self._outputs = input_places(shape, depths), output_places(shape)
        for name in self._inputs:
            sides = (depths,) if name == DEPTHS else (*shape, 2)
            self._demand(self._context.set_input_shape(name, sides), f"{name} of frames {shape}")
        for mirror, places in ((self._up, self._inputs), (self._down, self._outputs)):
            for name, place in places.items():
                self._demand(self._context.set_tensor_address(name, mirror.device + place.offset), name)
        for name, place in self._outputs.items():
            got = tuple(self._context.get_tensor_shape(name))
            if got != place.shape:
                raise EngineError(f"{name} of frames {shape}: got shape {got}, expected {place.shape}")
        self._shape = shape, depths

    def _made_context(self, trt: Any) -> Any:
        strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategies is None:
            context = self._engine.create_execution_context()
        else:  # for RTX; LAZY, its own choice, changes kernels later, and what is recorded would keep the slow ones
            settings = self._engine.create_runtime_config()
            settings.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            context = self._engine.create_execution_context(settings)
        self._demand(context is not None, "execution context")
        return context

    def _demand(self, well: bool, what: str) -> None:
        if not well:
            raise EngineError(f"{what}: {self._log.complaint()}")

    def _drop(self) -> None:
        self._stream.forget()
        self._context = self._engine = self._runtime = None  # in this order

    def close(self) -> None:
        self._taken.close()


def read_plan(runtime: Any, log: Any, path: Path) -> Any:
    """The engine in the file at `path`. Errors: `EngineError` with the library's message."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"cannot read: {error.strerror}") from error
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise EngineError(f"cannot be loaded: {log.complaint()}")
    return engine


def tensors_of(engine: Any) -> dict[str, str]:
    """Direction and type of each of a plan's tensors, such as `input uint8`."""
    names = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
    return {
        name: f"{engine.get_tensor_mode(name).name} {engine.get_tensor_dtype(name).name}".lower()
        for name in names
    }


def check_tensors(got: Mapping[str, str], depths: bool = False) -> None:
    """Check the tensors of a plan; `depths`: whether it takes a depth grid. Errors: `EngineError`."""
    expected = {f"{name}_bytes": "input uint8" for name in FRAMES} | dict.fromkeys(OUTPUTS, "output float")
    if depths:
        expected[DEPTHS] = "input float"
    if got != expected:
        there, wanted = (
            ", ".join(f"{n} {kind}" for n, kind in tensors.items()) for tensors in (got, expected)
        )
        raise EngineError(f"got {there}, expected {wanted}; export the bundle again")


def listener(trt: Any) -> Any:
    """A TensorRT logger that keeps the first error since `complaint` was last called; later ones follow from it."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._first = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR) and not self._first:
                self._first = message

        def complaint(self) -> str:
            said, self._first = self._first, ""
            return said.strip().splitlines()[0] if said.strip() else "it does not say why"

    return Listener()


def input_places(shape: Shape, depths: int | None = None) -> dict[str, Place]:
    """Places of the frames, and of `depths` depths, in the upload buffer; as bytes they are the inputs of a plan."""
    tensors: dict[str, tuple[tuple[int, ...], str]] = {f"{name}_bytes": (shape, "<i2") for name in FRAMES}
    if depths is not None:
        tensors[DEPTHS] = (depths,), "<f4"
    return side_by_side(tensors)


def output_places(shape: Shape) -> dict[str, Place]:
    """Places of displacement, strain and quality in the download buffer."""
    return side_by_side({name: ((2, *shape) if name == OUTPUTS[0] else shape, "<f4") for name in OUTPUTS})


def end_of(places: Mapping[str, Place]) -> int:
    """Bytes from the start of the buffer to the end of the last place."""
    return max(place.end for place in places.values())
