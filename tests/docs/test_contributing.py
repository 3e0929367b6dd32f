"""CONTRIBUTING.md: the files that it names are there, and its engine runs as it is printed."""

from __future__ import annotations

import importlib.util
import re
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import STRAIN, tiny_bundle

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TO_BE_MADE = {"runtime/engines/onnx_reference.py", "tests/runtime/engines/test_onnx_reference.py"}


def test_every_file_that_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:usert|runtime|train|tests|benchmarks)/[\w./]+\.\w+)`", PAGE)) - {
        "usert/formats/NAME.py"
    }
    assert named > TO_BE_MADE
    assert {name for name in named if not (ROOT / name).exists()} == TO_BE_MADE


def test_its_engine_runs_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = PAGE.partition("## An engine")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)^ +```", section, re.DOTALL | re.MULTILINE)
    path = tmp_path / "onnx_reference.py"
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    name = "usert.runtime.engines.onnx_reference"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    reference, current = np.random.default_rng(0).integers(-500, 500, (2, 40, 12), dtype=np.int16)
    with closing(module.OnnxReferenceEngine(tiny_bundle(tmp_path / "bundle"))) as engine:
        estimate = engine.run(reference, current)
    np.testing.assert_array_equal(estimate.strain, np.full((40, 12), STRAIN, np.float32))
    np.testing.assert_array_equal(estimate.displacement[1], current.astype(np.float32) - reference)
