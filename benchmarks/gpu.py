"""All that wants a GPU, in one run of some minutes: latency in torch, fine-tuning, the live path, weights.

    PYTHONPATH=. python3 benchmarks/gpu.py [--minutes 8] [--device cuda|cpu] [--toy] [--out DIR] [--only PART …]

It runs from a plain checkout: `usert/train`, `usert/export` and `usert/runtime` are links, so the checkout on
PYTHONPATH is all, and nothing is installed. `--out` is $OUT where that is set. Parts run in the order of `parts`, each
in a process of its own with a limit of its own, within `--minutes` in all: one that hangs, crashes or lacks a package
costs itself only, and what it had measured by then is kept. After each, `gpu.json` and `gpu.md` are written; a run with
the same folder skips what is whole there, and goes on with the weights. `--toy --device cpu` tries all of it small.

Latency wants torch, numpy, safetensors and h5py. On a bare machine with torch two packages are missing, without which
there are no simulated frames, no fine-tuning and no pre-training (array-api-compat), and no live path (pyzmq):

    pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \\
        --platform manylinux2014_x86_64 -d .whl pyzmq array-api-compat lightning-fabric
    python3 -m pip install -q --no-index --no-deps --target /tmp/site .whl/*.whl && PYTHONPATH=.:/tmp/site python3 …

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHAPES = ((1920, 768), (2304, 384), (1024, 256))
"""In the order of `latency`; `torch.compile` begins with the smallest, which most need to be fast."""
TOY = ((128, 64),)
LEAST_S = 15.0
"""Seconds below which no part is begun."""
MARK = "@ "
"""Before each row that a part prints."""
BATCH = 8
"""Pairs of a training step, so that a GPU has something to do; on a CPU one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part: a function of `gpu_parts`, or a command of `usert` whose last line is a JSON object or text."""

    name: str
    limit_s: float
    arguments: Sequence[object] = ()
    """Of the function that the name begins with, up to its first space."""
    command: Callable[[Path, float], Sequence[str]] | None = None
    """Arguments of `usert`, from a folder of its own and the seconds that it has."""
    needs: Sequence[str] = ()
    """Modules without which it is left out."""
    keeps: Sequence[str] = field(default=())
    """Files that it leaves in its folder for the results."""


def parts(device: str, toy: bool) -> list[Part]:
    """All parts in order."""
    shapes = TOY if toy else SHAPES
    live, (rows, lines) = shapes[0], shapes[0]
    found = [Part(name="machine", limit_s=40)]
    found += [Part(name=f"latency {n}x{m}", limit_s=70, arguments=(n, m)) for n, m in shapes]
    compiled = [Part(name=f"compiled {n}x{m}", limit_s=110, arguments=(n, m)) for n, m in reversed(shapes)]
    found.append(compiled[0])  # the others take minutes, too
    found += [
        Part(
            name=f"fine_tuning {rows}x{lines} {precision}",
            limit_s=50,
            arguments=(rows, lines, precision),
            needs=("array_api_compat",),
        )
        for precision in ("fp32", "bf16")
    ]
    seconds = 2 if toy else 6
    for name, options in (
        *((f"live {rate} Hz", ("--rate", str(rate))) for rate in ((10,) if toy else (30, 60, 120))),
        ("live after pauses", ("--rate", "10" if toy else "30", "--pause", "1" if toy else "10")),
    ):
        rounds = ("--rounds", "1" if "pauses" not in name else "2")
        on = ("--precision", "float16", "--threads", "4") if device == "cuda" else ("--threads", "1")
        bench = ("bench", "--wire", "--engine", "torch", *on, "--shape", f"{live[0]}x{live[1]}", *options, *rounds,
                 "--seconds", str(seconds))  # fmt: skip
        found.append(
            Part(
                name=name,
                limit_s=60,
                command=lambda folder, limit_s, bench=bench: bench,
                needs=("zmq", "array_api_compat", "onnxruntime"),
            )
        )
    for module in ("tensorrt", "tensorrt_rtx"):
        found.append(
            Part(
                name=module,
                limit_s=120,
                command=lambda folder, _, m=module: plan(folder, m),
                needs=(module, "onnx"),
            )
        )
    found += compiled[1:]
    found.append(
        Part(
            name="weights",
            limit_s=30 if toy else 3600,
            command=lambda folder, limit_s: pretraining(folder, limit_s, device),
            needs=("array_api_compat", "lightning_fabric"),
            keeps=("weights.safetensors", "log.jsonl"),
        )
    )
    return found


def plan(folder: Path, module: str) -> Sequence[str]:
    """An export of the default weights with a plan, which is run and proven where the GPU is one of its targets."""
    weights = ROOT / "usert" / "bundles" / "default" / "weights.safetensors"
    return ("export", "--weights", str(weights), "--out", str(folder / "bundle"), "--shape", "1024x256",
            "--no-any-shape", "--precision", "float16", "--plan", module)  # fmt: skip


def pretraining(folder: Path, limit_s: float, device: str) -> Sequence[str]:
    """More pre-training of the default weights, or of those of an earlier run, for what is left of the time."""
    recipe = (ROOT / "train" / "recipes" / "baseband-found.toml").read_text(encoding="utf-8")
    batch = BATCH if device == "cuda" else 1
    changed = re.sub(r"^batch = \d+", f"batch = {batch}", recipe, flags=re.MULTILINE)
    changed = changed.replace("learning_rate = 3e-4", "learning_rate = 2e-4")
    (folder / "gpu.toml").write_text(changed, encoding="utf-8")
    earlier = folder.parent / "kept" / "weights.safetensors"
    start = earlier if earlier.exists() else ROOT / "usert" / "bundles" / "default" / "weights.safetensors"
    minutes = (limit_s - min(45.0, limit_s / 2)) / 60  # it has to start, and to write what it has
    return ("pretrain", "--recipe", str(folder / "gpu.toml"), "--weights", str(start), "--out", str(folder / "run"),
            "--device", device, "--minutes", f"{minutes:.3f}")  # fmt: skip


def run_part(part: Part, limit_s: float, device: str, toy: bool, out: Path) -> dict[str, Any]:
    """Run a part in a process of its own and collect what it printed; it is killed with its children at the limit."""
    missing = [name for name in part.needs if importlib.util.find_spec(name) is None]
    if missing:
        return {"left out": f"not installed: {', '.join(missing)}", "rows": []}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="usert-gpu-") as scratch:
        folder = Path(scratch) / "part"
        folder.mkdir()
        if (out / "weights.safetensors").exists():
            (Path(scratch) / "kept").mkdir()
            shutil.copy(out / "weights.safetensors", Path(scratch) / "kept")
        if part.command is None:
            asked = json.dumps([part.name.split()[0], device, toy, *part.arguments])
            command = [sys.executable, __file__, "--part", asked]
        else:
            command = [sys.executable, "-m", "usert", *part.command(folder, limit_s)]
        with (Path(scratch) / "said").open("w+", encoding="utf-8") as said:
            path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
            process = subprocess.Popen(
                command,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            )
            try:
                code: int | None = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                if process.poll() is None or code != 0:
                    end(process)
            said.seek(0)
            lines = said.read().splitlines()
        for name in part.keeps:
            for kept in folder.rglob(name):
                shutil.copy(kept, out / name)
    result: dict[str, Any] = {"rows": rows_of(lines, part.command is not None)}
    if code != 0:
        told = [line for line in lines if not line.startswith((MARK, "{"))][-6:]
        result["error"] = f"stopped after {limit_s:.0f} s" if code is None else f"ended with {code}"
        result["said"] = told
    return result | {"seconds": round(time.monotonic() - begin, 1)}


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a part and all that it started, which has a process group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def rows_of(lines: Sequence[str], is_command: bool) -> list[dict[str, Any]]:
    """The rows that a part printed; of a command the rows of its JSON object, else its last lines."""
    rows = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    if not is_command:
        return rows
    for line in reversed(lines):
        if line.startswith("{"):
            try:
                found: list[dict[str, Any]] = json.loads(line)["rows"]
            except (ValueError, KeyError):
                continue
            return found
    return [{"said": line} for line in lines[-3:]]


def table(results: dict[str, dict[str, Any]]) -> str:
    """All rows as one Markdown table: part, what was measured, its figures."""
    lines = ["| part | row | figures |", "|---|---|---|"]
    for name, result in results.items():
        for row in result["rows"]:
            title = " ".join(str(row[key]) for key in ("shape", "way", "engine", "precision") if key in row)
            figures = ", ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in row.items()
                if key not in ("shape", "way", "engine", "precision") and not isinstance(value, dict)
            )
            lines.append(f"| {name} | {title} | {figures.replace('|', '/')} |")
        lines += [f"| {name} | {why} | {result[why]} |" for why in ("left out", "error") if why in result]
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    path = out / "gpu.json"
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    deadline = time.monotonic() + 60 * options.minutes
    for part in parts(options.device, options.toy):
        before = results.get(part.name, {})
        whole = bool(before) and not {"error", "left out"} & before.keys() and part.name != "weights"
        left_s = deadline - time.monotonic()
        if whole or (options.only and not part.name.startswith(tuple(options.only))):
            continue
        if left_s < LEAST_S:
            print(f"gpu: {part.name}: no time left", file=sys.stderr, flush=True)
            continue
        limit_s = min(part.limit_s * (3 if options.device == "cpu" else 1), left_s)
        result = run_part(part, limit_s, options.device, options.toy, out)
        print(f"gpu: {part.name}: {json.dumps(result)}", file=sys.stderr, flush=True)
        if result["rows"] or not before:
            results[part.name] = result
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (out / "gpu.md").write_text(table(results) + "\n", encoding="utf-8")
    print(table(results))
    print(json.dumps({"benchmark": "gpu", "device": options.device, "toy": options.toy, "parts": results}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--toy", action="store_true", help="small sizes, to try it")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-results")))
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="parts that begin so")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is None:
        return run(options)
    import gpu_parts

    name, device, toy, *arguments = json.loads(options.part)
    for row in getattr(gpu_parts, name)(device, toy, *arguments):
        print(MARK + json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
