"""What the pages show is what there is: every command line names commands and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from usert.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```sh[^\n]*\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def shown() -> list[tuple[str, str]]:
    """(page, command line) of each line in a fence of shell that begins with usert."""
    found = []
    for page in PAGES:
        for block in FENCE.findall(page.read_text(encoding="utf-8")):
            lines = re.split(r"\n|&&", block.replace("\\\n", " "))
            found += [(page.name, line.split(" # ")[0].strip()) for line in lines]
    return [(name, line) for name, line in found if line.startswith("usert ")]


@pytest.mark.parametrize(("page", "line"), shown())
def test_a_command_line(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words, f"{page}: {line}"
        assert words[0] in command.commands, f"{page}: {line}"
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_page_was_looked_at() -> None:
    assert {"tutorial.md", "scanners.md", "operations.md"} <= {page for page, _ in shown()}
