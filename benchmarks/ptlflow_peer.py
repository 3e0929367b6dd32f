"""A network of ptlflow in an environment of its own, which a benchmark asks line by line.

python ptlflow_peer.py MODEL THREADS        # by `Peer`, with the python that has ptlflow
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_MARK = "@"
"""Before each line of the peer that is meant for us: its libraries print, too."""


class Peer:
    """`with Peer(python, threads, "liteflownet") as peer:` in its own environment."""

    def __init__(self, python: Path, threads: int, model: str) -> None:
        self.model = model
        self._command = [str(python), __file__, model, str(threads)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.about = self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        said = "it said nothing"
        for line in self._process.stdout:
            if line.startswith(_MARK):
                answer: dict[str, Any] = json.loads(line.removeprefix(_MARK))
                return answer
            said = line.strip() or said
        sys.exit(f"ptlflow: the peer ended: {said}")


def open_model(name: str) -> Any:
    """ptlflow's network `name` with random weights."""
    import torch

    # torchvision looks for two operators whose library a torch without CUDA cannot load
    stubs = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        stubs.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import ptlflow

    return ptlflow.get_model(name)


def serve(name: str, threads: int) -> None:
    """The peer's side: `{"shape": [N, M]}` prepares, `{"seconds": s}` is a turn, `{"export": path}` writes ONNX."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = open_model(name).eval().to(device)
    about = {
        "torch": torch.__version__,
        "device": device,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    print(_MARK + json.dumps(about), flush=True)
    images: Any = None

    def run() -> Any:
        flow = model({"images": images})["flows"]
        if device == "cuda":
            torch.cuda.synchronize()
        return flow

    with torch.no_grad():
        for line in sys.stdin:
            question = json.loads(line)
            if "shape" in question:
                images = torch.rand(1, 2, 3, *question["shape"]).to(device)
                with FlopCounterMode(display=False) as counter:
                    flow = run()
                run()
                answer = {"flops": counter.get_total_flops(), "finite": bool(torch.isfinite(flow).all())}
            elif "export" in question:
                _export(model, images, question["export"])
                answer = {}
            else:
                used_s = time.process_time()
                times = runs(run, question["seconds"])
                answer = {"ms": times, "cpu_ms": 1e3 * (time.process_time() - used_s) / (len(times) + 1)}
            print(_MARK + json.dumps(answer), flush=True)


def _export(model: Any, images: Any, path: str) -> None:
    import torch

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Any) -> Any:
            return self.model({"images": images})["flows"]

    torch.onnx.export(Plain(), (images,), path, input_names=["images"], opset_version=18, dynamo=False)


def runs(run: Any, seconds: float) -> list[float]:
    """Milliseconds of runs in a row, without the first."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - begin))
    return times[1:]


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
