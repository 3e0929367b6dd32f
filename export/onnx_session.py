"""An exported file run by ONNX Runtime on the CPU, for the gate.

Knows nothing of bundles or engines, which are the runtime's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from usert.errors import BundleError
from usert.front_end import FrontEnd, graph_inputs
from usert.machine import usable_cores
from usert.silent import import_onnxruntime

from .gate import FramePair, Outputs, Run
from .onnx_graph import DEPTHS, OUTPUTS

onnxruntime = import_onnxruntime()


def open_onnx(path: Path, inputs: Callable[[FramePair], Sequence[NDArray[Any]]] | None = None) -> Run:
    """Open an ONNX file to run it by ONNX Runtime on the CPU; `inputs` makes those of a graph that has a start, too.

    Errors: `BundleError` when it cannot be opened.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3  # errors alone
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common base for what it raises
        raise BundleError(f"{path}: ONNX Runtime cannot open it: {str(error).splitlines()[0]}") from error

    names = tuple(node.name for node in session.get_inputs())
    front_end: FrontEnd = "baseband" if DEPTHS in names else "rf"

    def run(pair: FramePair) -> Outputs:
        given = graph_inputs(front_end, *pair) if inputs is None else inputs(pair)
        found: Outputs = session.run(list(OUTPUTS), dict(zip(names, given, strict=True)))
        return [part[..., : pair.reference.shape[1]] for part in found]

    return run
