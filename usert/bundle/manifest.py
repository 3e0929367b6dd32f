"""The manifest of a bundle: its files, their input and output, and their measured accuracy and speed.

Knows JSON; does not know whether the files it names exist. Invariant: a manifest that was read is one that this version
of usert understands whole; anything else was refused by name.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from ..errors import BundleError
from ..front_end import FrontEnd
from ..schema import Scalar, Schema

FORMAT = 3
"""Number of the manifest's format: 3 names the front end, of which 2 knew `rf` alone."""
READABLE = (2, FORMAT)
"""Formats that this version reads."""
PRECISIONS = ("float32", "float16", "int8")
"""Precisions of a graph's weights and activations inside the network; what follows it is float32."""
TENSORRTS = ("tensorrt", "tensorrt_rtx")
"""Libraries that build plans, by the names of their Python modules."""
DISPLACEMENT_CONVENTION = "(2, N, M): axial samples, lateral lines; current(r + d(r)) = reference(r)"
REFINEMENTS = ("off", "cheap", "full")
STRAIN_CONVENTION = "fraction, compression positive"


def _one_of(*known: str) -> Scalar:
    return Scalar(lambda value: value in known, ", ".join(known))


def _matching(pattern: str, expected: str) -> Scalar:
    return Scalar(lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value)), expected)


FileName: TypeAlias = Annotated[
    str,
    _matching(
        r"(?!manifest\.json$)[A-Za-z0-9_][A-Za-z0-9_.+-]*", "a plain file name inside the bundle's folder"
    ),
]
"""Name of a file in the bundle's folder: never a path, which could lead out of it."""
Sha256: TypeAlias = Annotated[str, _matching(r"[0-9a-f]{64}", "64 hexadecimal digits")]
Count: TypeAlias = Annotated[int, Scalar(lambda value: type(value) is int and value > 0, "a count above 0")]
Precision: TypeAlias = Annotated[str, _one_of(*PRECISIONS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network in the graphs."""

    name: str
    front_end: FrontEnd = "rf"
    """How frames become the network's input (`usert.front_end`)."""
    levels: tuple[int, int]
    """Coarsest and finest pyramid level; level L works at 1 / 2^(L-1) of the resolution."""
    normalise_features: bool
    parameters: Count

    def __post_init__(self) -> None:
        coarsest, finest = self.levels
        _check(coarsest >= finest >= 1, "network.levels", list(self.levels), "coarsest >= finest >= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The file of weights that all graphs share."""

    file: FileName
    sha256: Sha256
    recipe: str
    """Recipe of the training, one line."""
    model_card: FileName | None = None
    """File of the model card; None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFor:
    """Ranges of the training data, (low, high); outside them the network extrapolates."""

    centre_cycles_per_sample: tuple[float, float]
    """Centre frequency of the pulse over the sampling frequency."""
    strain_percent: tuple[float, float]

    def __post_init__(self) -> None:
        for name in ("centre_cycles_per_sample", "strain_percent"):
            low, high = getattr(self, name)
            _check(low < high, f"input.trained_for.{name}", [low, high], "[low, high]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """The input of a graph: two frames, named reference and current."""

    trained_for: TrainedFor | None
    """None for weights that were not trained on RF, such as the published ones."""
    dtype: Annotated[str, _one_of("int16")] = "int16"
    shape: Annotated[str, _one_of("(N, M)")] = "(N, M)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """Units and signs of a graph's output; the runtime passes them on unchanged."""

    displacement: Annotated[str, _one_of(DISPLACEMENT_CONVENTION)] = DISPLACEMENT_CONVENTION
    strain: Annotated[str, _one_of(STRAIN_CONVENTION)] = STRAIN_CONVENTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Time of one pair on the machine that made the bundle."""

    engine: str
    """Library, its version and device."""
    machine: str
    threads: int
    shape: tuple[int, int]
    """(N, M) of the frames."""
    milliseconds: float
    """Median time of a pair over those that were timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One ONNX file."""

    file: FileName
    shape: tuple[Count, Count] | None
    """(N, M) of the frames that it takes; None for frames of any shape."""
    grid_rows: int | None = None
    """Rows of the depth grid that it is built for, where the front end has one; None with `shape` None."""
    precision: Precision
    """One of `PRECISIONS`."""
    sha256: Sha256
    bytes: Count
    accuracy: dict[str, float]
    """Figures of `usert.export.gate.Accuracy`, measured by ONNX Runtime on a CPU."""
    speed: Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A graph as built by TensorRT; it runs only with the library and on the GPU that it was built for."""

    file: FileName
    graph: str
    """File of the graph."""
    library: Annotated[str, _one_of(*TENSORRTS)]
    """One of `TENSORRTS`."""
    version: str
    gpu: str | None
    """Name of the GPU; None for the GPUs that TensorRT for RTX supports by default."""
    least: tuple[Count, Count]
    most: tuple[Count, Count]
    """Smallest and largest frame (N, M) it takes; sides are multiples of 32 where the two differ."""
    sha256: Sha256
    bytes: int
    seconds: float
    """Time that the build took, in seconds."""
    accuracy: dict[str, float] | None
    speed: Speed | None
    """None, as `accuracy` is, where the plan could not be run on the machine that built it."""

    def __post_init__(self) -> None:
        ordered = self.least[0] <= self.most[0] and self.least[1] <= self.most[1]
        _check(ordered, f"plans {self.file} most", list(self.most), f"at least {list(self.least)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The contract between export and runtime. Errors: `BundleError` for values that contradict each other."""

    format: int = FORMAT
    usert_version: str
    created: str
    """ISO 8601 time with its zone."""
    network: Network
    weights: Weights
    input: Input
    conventions: Conventions = field(default_factory=Conventions)
    refinement: Annotated[str, _one_of(*REFINEMENTS)] = "off"
    """Refinement of the network's displacement in the graph: `off`, `cheap` or `full` (`usert.network.refine`)."""
    strain_window_samples: Count
    """Length of the least-squares window of the strain in the graph; with the front end `baseband`, whose windows count
    wavelengths, at 40 MHz and 6.5 MHz."""
    strain_window_wavelengths: float | None = None
    """The same in cycles of the echo, with the front end `baseband`."""
    quality_window: tuple[Count, Count]
    """Rows and lines of the window of the correlation in the graph, at that sampling."""
    opset: int
    graphs: tuple[Graph, ...]
    follow: tuple[Graph, ...] = ()
    """Graphs for pairs that move nearly as the image before did, which take a start, too (`usert.front_end`)."""
    plans: tuple[Plan, ...] = ()
    reference: str
    """Reference that the graphs were compared with, such as `torch 2.13.0`."""
    tolerances: dict[str, dict[str, float]]
    """Limit of each figure of a graph's accuracy, by its precision."""
    libraries: dict[str, str]
    """Versions of the libraries that made the bundle."""
    machine: str
    gpu: str | None
    """GPU of the machine that made it; None without one."""

    def __post_init__(self) -> None:
        _check(self.strain_window_samples > 1, "strain_window_samples", self.strain_window_samples, "above 1")
        _check(len(self.graphs) > 0, "graphs", "none", "at least one")
        for name, graphs in (("graphs", self.graphs), ("follow", self.follow)):
            keys = [(graph.shape, graph.grid_rows, graph.precision) for graph in graphs]
            _check(len(set(keys)) == len(keys), name, "two of one shape and precision", "one of each")
        on_grid = self.network.front_end == "baseband"
        _check(on_grid or not self.follow, "follow", "graphs with rf", "graphs with baseband alone")
        has_window = self.strain_window_wavelengths is not None
        _check(
            has_window == on_grid,
            "strain_window_wavelengths",
            self.strain_window_wavelengths,
            "a number with baseband, none with rf",
        )
        for graph in (*self.graphs, *self.follow):
            fits = (graph.grid_rows is not None) == (on_grid and graph.shape is not None)
            _check(
                fits,
                f"graphs {graph.file} grid_rows",
                graph.grid_rows,
                "rows of a grid with baseband and a shape",
            )
        _check(
            len(set(self.files)) == len(self.files), "files", "one name twice", "a name of its own for each"
        )
        files = {graph.file for graph in self.graphs}
        for plan in self.plans:
            _check(plan.graph in files, f"plans {plan.file} graph", plan.graph, ", ".join(sorted(files)))
        for precision in {graph.precision for graph in (*self.graphs, *self.follow)}:
            _check(precision in self.tolerances, "tolerances", sorted(self.tolerances), f"{precision}, too")

    def strain_window_at(self, cycles_per_sample: float | None) -> int:
        """Length of the strain window in samples of frames whose f0 over fs is `cycles_per_sample`; None: nominal."""
        if self.strain_window_wavelengths is None or cycles_per_sample is None:
            return self.strain_window_samples
        return max(3, round(self.strain_window_wavelengths / cycles_per_sample))

    @property
    def made(self) -> tuple[Graph | Plan, ...]:
        """All graphs and plans."""
        return (*self.graphs, *self.follow, *self.plans)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that a complete bundle holds beside its manifest."""
        card = () if self.weights.model_card is None else (self.weights.model_card,)
        return (self.weights.file, *card, *(part.file for part in self.made))

    def to_json(self) -> str:
        """Text of `manifest.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse the text of a `manifest.json`.

        Errors: `BundleError` for invalid JSON, another format, unknown keys or values.
        """
        try:
            tree = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"not valid JSON: {error}") from error
        if not isinstance(tree, dict):
            raise BundleError(f"got JSON {type(tree).__name__}, expected an object")
        _check_format(tree.get("format"))
        return Schema(error=BundleError).build(cls, tree)


def _check(holds: bool, what: str, got: object, expected: str) -> None:
    if not holds:
        raise BundleError(f"{what}: got {got!r}, expected {expected}")


def _check_format(number: object) -> None:
    if type(number) is not int or number not in READABLE:
        raise BundleError(
            f"format: got {number!r}, expected {' or '.join(map(str, READABLE))}; another version of usert made it: "
            "upgrade, or export again"
        )
