"""What one step of unsupervised fine-tuning takes in memory and time, by how the network is checkpointed.

    python benchmarks/memory.py [--shape 512x128 --shape 1024x256] [--device cpu|cuda] [--precision fp32|bf16]
                                [--rounds 5] [--markdown OUT]

A step is a backward flow without gradients, a forward flow with them, a loss on the latter, and its backward
pass. Weights are those of the default bundle, frames those of the simulated scanner. First, every mode must give
the loss and the gradients of mode `none`. Then one fresh process a mode measures memory, in its second step, above
what is resident before it (libraries, weights, gradients, frames):

    peak     CPU: VmHWM, reset by writing 5 to /proc/self/clear_refs, above VmRSS after malloc_trim; with
             MALLOC_MMAP_THRESHOLD_ so low that each tensor is a mapping of its own and goes when it is freed.
             CUDA: max_memory_allocated above memory_allocated.
    saved    bytes that autograd holds when the loss is there, by saved_tensors_hooks: tensors and inputs of
             checkpoints, each storage once, without parameters. The same on every machine.

Time is taken in one process a shape, modes interleaved, with the allocator as it is: on a CPU the processor's
seconds, which other processes on the machine disturb less than the clock's. The loss is a stand-in of the
real one's kind: Charbonnier of the warped difference and of the flow's derivatives. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from training_step import CudaMeter, RssMeter, Step, Variant, saved_bytes

from usert.errors import OptionError, UsertError
from usert.machine import cpu_name
from usert.network.checkpoint import Checkpointing
from usert.network.liteflownet import MULTIPLE

MODES: tuple[Checkpointing, ...] = get_args(Checkpointing)
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}
"""Relative difference to mode `none` that rounding explains: of the loss, and of all gradients together (L2).
Rounding turns signs at the kinks of the rectifiers and the warp: mode `none` itself is 3e-4 from float64 with random
weights. The sharp test is in double precision, in tests/network/test_checkpoint.py."""
PLAIN = "none"
MIB = 2**20
Figures = dict[str, Any]
VARIANTS = [Variant(mode=mode, both=both) for both in (False, True) for mode in MODES]


def memory(step: Step, variant: Variant) -> Figures:
    """Peaks of the phases of one step in MiB above what was resident before it, and of what autograd saves."""
    step.whole(variant)  # gradients and caches of kernels are there from now on
    step.zero_grad()
    gc.collect()
    meter = CudaMeter() if step.device == "cuda" else RssMeter()
    peaks = {}
    with saved_bytes(step.network) as saved:
        backward = step.backward_flow(variant)
        peaks["backward flow"] = meter.peak()
        loss = step.loss(backward)
        peaks["forward flow"] = meter.peak()
        held = saved()
    del backward
    loss.backward()  # type: ignore[no-untyped-call]
    peaks["backward pass"] = meter.peak()
    return {"peak MiB": max(peaks.values()) / MIB, "saved MiB": held / MIB} | {
        f"{phase} MiB": value / MIB for phase, value in peaks.items()
    }


def agreement(step: Step) -> Figures:
    """Largest relative difference of loss and gradients to mode `none`; an error where rounding is no excuse."""
    worst: Figures = {}
    for both in (False, True):
        reference: tuple[float, Tensor] | None = None
        for variant in (v for v in VARIANTS if v.both == both):
            step.zero_grad()
            loss, gradients = step.whole(variant), step.gradients()
            if reference is None:
                reference = loss, gradients
            apart = (
                abs(loss / reference[0] - 1),
                float((gradients - reference[1]).norm() / reference[1].norm()),
            )
            if not max(apart) <= TOLERANCE[step.precision]:
                raise UsertError(
                    f"{variant.name}: loss and gradients differ from mode none by {apart}, "
                    f"expected at most {TOLERANCE[step.precision]}"
                )
            worst[variant.name] = {"loss": apart[0], "gradients": apart[1]}
    return worst


def timing(step: Step, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, variants interleaved, so that a busy machine is busy for all. `agreement` warmed up."""
    seconds: dict[str, list[float]] = {variant.name: [] for variant in VARIANTS}
    now = time.process_time if step.device == "cpu" else time.perf_counter
    for _ in range(rounds):
        for variant in VARIANTS:
            step.zero_grad()
            step.synchronise()
            start = now()
            step.whole(variant)
            step.synchronise()
            seconds[variant.name].append(now() - start)
    return seconds


def work(job: str, shape: tuple[int, int], device: str, precision: str, rounds: int, variant: int) -> Figures:
    """What a worker process does."""
    step = Step(shape, device, precision)
    if job == "memory":
        return memory(step, VARIANTS[variant])
    return {"agreement": agreement(step), "seconds": timing(step, rounds)}


def in_worker(*job: object, environment: dict[str, str]) -> Figures:
    """Run `work` in a fresh process."""
    command = [sys.executable, __file__, "--worker", json.dumps(job)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsertError((done.stderr.strip() or f"worker ended with {done.returncode}").splitlines()[-1])
    result: Figures = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(shape: tuple[int, int], device: str, precision: str, rounds: int) -> list[Figures]:
    """A row a variant."""
    common = (shape, device, precision, rounds)
    timed = in_worker("time", *common, 0, environment={})
    say(f"{shape}: all modes agree; timed")
    # every tensor from 64 KiB on a mapping of its own, one arena, nothing kept at the top of the heap
    malloc = {
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
        "MALLOC_MMAP_MAX_": "1000000",
        "MALLOC_ARENA_MAX": "1",
    }
    rows: list[Figures] = []
    for k, variant in enumerate(VARIANTS):
        figures = in_worker("memory", *common, k, environment=malloc)
        say(f"{shape} {variant.name}: {figures}")
        seconds = timed["seconds"][variant.name]
        plain = timed["seconds"][PLAIN]
        rows.append(
            {
                "step": variant.name,
                **figures,
                "peak ratio": (rows[0] if rows else figures)["peak MiB"] / figures["peak MiB"],
                "saved ratio": (rows[0] if rows else figures)["saved MiB"] / figures["saved MiB"],
                "p50 s": statistics.median(seconds),
                "time ratio": statistics.median(a / b for a, b in zip(seconds, plain, strict=True)),
                "apart": timed["agreement"][variant.name]["gradients"],
            }
        )
    return rows


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def markdown(rows: Sequence[Figures]) -> str:
    heads = (
        ("step", "step", "{}"),
        ("peak MiB", "peak MiB", "{:.0f}"),
        ("none / peak", "peak ratio", "{:.1f}×"),
        ("saved MiB", "saved MiB", "{:.0f}"),
        ("none / saved", "saved ratio", "{:.1f}×"),
        ("backward flow MiB", "backward flow MiB", "{:.0f}"),
        ("forward flow MiB", "forward flow MiB", "{:.0f}"),
        ("backward pass MiB", "backward pass MiB", "{:.0f}"),
        ("p50 s", "p50 s", "{:.2f}"),
        ("time / none", "time ratio", "{:.2f}×"),
        ("gradients apart", "apart", "{:.1g}"),
    )
    lines = ["| " + " | ".join(head for head, _, _ in heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(form.format(row[key]) for _, key, form in heads) + " |" for row in rows]
    return "\n".join(lines)


def parse_shape(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    sides = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(side and side % MULTIPLE == 0 for side in sides):
        raise OptionError(
            f"shape: got {text!r}, expected rows x lines, multiples of {MULTIPLE}, as in 512x128"
        )
    return sides


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", action="append", help="rows x lines; may be given more than once")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=tuple(TOLERANCE), default="fp32")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each mode")
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the tables here, too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        if options.worker is not None:
            job, shape, *rest = json.loads(options.worker)
            print(json.dumps(work(job, tuple(shape), *rest)))
        else:
            run(options)
    except UsertError as error:
        sys.exit(f"memory: {error}")


def run(options: argparse.Namespace) -> None:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise OptionError("device: got 'cuda', but torch sees no such device")
    if options.rounds < 1:
        raise OptionError(f"rounds: got {options.rounds}, expected at least 1")
    shapes = {text: parse_shape(text) for text in options.shape or ("512x128", "1024x256")}
    tables = {
        text: measure(shape, options.device, options.precision, options.rounds)
        for text, shape in shapes.items()
    }
    text = "\n\n".join(
        f"### {name}, {options.device}, {options.precision}, median of {options.rounds}\n\n{markdown(rows)}"
        for name, rows in tables.items()
    )
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    summary = {"benchmark": "memory", "machine": cpu_name(), "torch": torch.__version__}
    print(json.dumps(summary | {"threads": torch.get_num_threads(), "tables": tables}))


if __name__ == "__main__":
    main()
