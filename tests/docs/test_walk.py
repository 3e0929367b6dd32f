"""The walk through the server names files and functions that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")


def test_every_file_that_the_walk_names_is_there() -> None:
    names = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", PAGE)
    assert len(names) > 40
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "runtime" / name).exists(), name


def test_each_step_is_a_function_of_its_file() -> None:
    steps = re.findall(r"\| \d+ \| `([a-z_/]+\.py)` \| `(?:\w+\.)?(\w+)`", PAGE)
    assert len(steps) > 20
    for file, function in steps:
        text = (ROOT / "runtime" / file).read_text(encoding="utf-8")
        assert re.search(rf"def {function}\(|class {function}\b", text), f"{file}: {function}"
