"""The engine that a command runs, by `--bundle`, `--engine`, `--precision` and `--threads`.

Invariant: torch is loaded when it is asked for by name, or to run on a GPU that is there, and only then.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from usert.commands.option import option

if TYPE_CHECKING:
    from usert.bundle import Bundle
    from usert.runtime.engines.interface import Engine

ENGINE_HELP = (
    "Engine: openvino, onnxruntime, onnxruntime-cuda, tensorrt, torch, …; best: the best that works here."
)
PRECISION_HELP = "float32, float16 or int8, if the bundle has it; by default what suits the engine."
AT_ONCE_HELP = (
    "Pairs that run at once on a CPU and share its threads; by default two for frames of up to 524,288 samples, where "
    "that gives more images a second, and one for larger frames, whose images would come later."
)

BUNDLE = option(
    None,
    "DIR",
    "Bundle to use instead of the default one: a folder, or small, the faster one of the package.",
)
ENGINE = option("best", "NAME", ENGINE_HELP)
PRECISION = option(None, "NAME", PRECISION_HELP)


def load_bundle(folder: Path | None) -> Bundle:
    """The bundle in `folder` or of that name, or the default one. Errors: `BundleError`."""
    from usert.bundle import Bundle, default_bundle_path

    return Bundle.load(default_bundle_path() if folder is None else folder)


def open_named(
    bundle: Bundle, *, engine: str, threads: int | None, precision: str | None, at_once: int | None = 1
) -> Engine:
    """Open `bundle` by the engine of that name; the caller closes the engine.

    The best engine is `torch` where there is an NVIDIA GPU and torch, and no other library runs on it. Errors: as
    `open_engine`.
    """
    from usert.errors import require
    from usert.runtime.engines import BEST, REFERENCE, open_engine

    def torch(device: str | None = None) -> Engine:
        require("torch", "export")
        from usert.export.torch_engine import TorchEngine

        return TorchEngine(bundle, threads=threads, precision=precision, device=device)

    if engine == REFERENCE:
        return torch()

    def on_gpu() -> Engine:
        opened = torch("cuda")
        opened.warm_up(
            (2 * bundle.manifest.strain_window_samples, 64)
        )  # a GPU that is seen may still not work
        return opened

    worth = engine == BEST and find_spec("torch") is not None and has_gpu()
    reference = on_gpu if worth else None
    return open_engine(
        bundle,
        engine=engine,
        threads=threads,
        precision=precision,
        at_once=at_once,
        reference=reference,
    )


def has_gpu() -> bool:
    """Whether NVIDIA's driver is there, as far as the system shows it: its device file, or what NVML names."""
    from usert.machine import gpu_name

    return Path("/dev/nvidiactl").exists() or gpu_name() is not None
