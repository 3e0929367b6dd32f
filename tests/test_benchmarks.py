"""The scripts of `benchmarks/` are written against the code as it is."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
IMPORT_ALL = (
    "import importlib, sys; sys.path.insert(0, sys.argv[1]); [*map(importlib.import_module, sys.argv[2:])]"
)


def test_every_benchmark_can_be_imported() -> None:
    names = sorted(path.stem for path in FOLDER.glob("*.py"))
    assert "live_overhead" in names
    command = [sys.executable, "-c", IMPORT_ALL, FOLDER, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("gpu")


def test_a_part_that_fails_hangs_or_lacks_a_package_costs_itself_only(gpu: Any, tmp_path: Path) -> None:
    def part(*command: str, needs: tuple[str, ...] = ()) -> Any:
        return gpu.Part(name="x", limit_s=60, command=lambda folder, limit_s: command, needs=needs)

    missing = gpu.run_part(part("--help", needs=("no_such_package",)), 60, "cpu", True, tmp_path)
    assert missing == {"left out": "not installed: no_such_package", "rows": []}
    failed = gpu.run_part(part("no-such-command"), 60, "cpu", True, tmp_path)
    assert failed["error"] == "ended with 2"
    assert "no-such-command" in " ".join(failed["said"])
    hung = gpu.run_part(
        part("replay", "--simulate", "--publish", "tcp://127.0.0.1:*"), 0.5, "cpu", True, tmp_path
    )
    assert hung["error"].startswith("stopped after")


def test_rows_that_were_printed_before_the_end_are_kept(gpu: Any) -> None:
    said = ["loading", '@ {"way": "eager", "p50 ms": 1.0}', "Traceback", "ValueError: no"]
    rows = gpu.rows_of(said, False)
    assert rows == [{"way": "eager", "p50 ms": 1.0}]
    assert gpu.rows_of(["log", '{"rows": [{"engine": "torch"}]}', "end"], True) == [{"engine": "torch"}]
    text = gpu.table({"latency": {"rows": rows, "error": "ended with 1"}})
    assert text.splitlines()[2:] == ["| latency | eager | p50 ms 1 |", "| latency | error | ended with 1 |"]


def test_what_is_whole_is_not_measured_again(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def measured(part: Any, *_: object) -> dict[str, Any]:
        asked.append(part.name)
        rows = [{"way": part.name}]
        return {"rows": rows} | ({"error": "ended with 1"} if part.name.startswith("compiled") else {})

    monkeypatch.setattr(gpu, "run_part", measured)
    monkeypatch.setattr("sys.argv", ["gpu.py", "--toy", "--device", "cpu", "--out", str(tmp_path)])
    gpu.main()
    first = list(asked)
    assert first[:3] == ["machine", "latency 128x64", "compiled 128x64"]
    assert first[-1] == "weights"
    gpu.main()
    assert asked[len(first) :] == ["compiled 128x64", "weights"]
    assert set(json.loads((tmp_path / "gpu.json").read_text())) == set(first)
