"""The package lists and promises of pyproject.toml, held against the tree and a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
STAGES = ("train", "export", "runtime")


def _packages_in_tree() -> set[str]:
    found = set()
    for top, name in (("usert", "usert"), *((stage, f"usert.{stage}") for stage in STAGES)):
        for init in (ROOT / top).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / top).parts
            if not (top == "usert" and parts and parts[0] in STAGES):  # the links
                found.add(".".join((name, *parts)))
    return found


def test_every_package_of_the_tree_is_shipped() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == _packages_in_tree()


def test_every_stage_package_is_mapped_to_its_folder() -> None:
    mapping = PROJECT["tool"]["setuptools"]["package-dir"]
    staged = {name for name in _packages_in_tree() if name.startswith(tuple(f"usert.{s}" for s in STAGES))}
    assert {name: name.removeprefix("usert.").replace(".", "/") for name in staged} == mapping


def test_the_links_point_at_the_stages() -> None:
    for stage in STAGES:
        link = ROOT / "usert" / stage
        assert link.is_symlink()
        assert link.resolve() == (ROOT / stage).resolve()


HELP = "from typer.testing import CliRunner; from usert.cli import app; CliRunner().invoke(app, ['--help'])"


@pytest.mark.parametrize("statement", ["import usert", "import usert.runtime", "import usert.cli", HELP])
def test_importing_loads_no_heavy_library(statement: str) -> None:
    heavy = ("torch", "onnxruntime", "zmq", "scipy", "h5py", "PIL")
    code = f"import sys; {statement}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_core_is_named_whole_in_the_import_contract() -> None:
    contract = next(
        c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["name"] == "the core knows no stage"
    )
    modules = {f"usert.{p.stem}" for p in (ROOT / "usert").glob("*.py") if not p.stem.startswith("_")}
    packages = {p for p in _packages_in_tree() if p.count(".") == 1}
    stages = {f"usert.{stage}" for stage in STAGES}
    assert set(contract["source_modules"]) == (modules | packages) - stages - {
        "usert.cli",
        "usert.commands",
        "usert.evaluation",
        "usert.testing",
    }
