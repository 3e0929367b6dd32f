"""What the README shows is what there is: every command line in it names commands and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from usert.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
LINES = [
    line.split("#")[0].strip()
    for block in BLOCKS
    for line in re.split(r"\n|&&", block)
    if line.strip().startswith("usert ")
]


@pytest.mark.parametrize("line", LINES)
def test_command_line(line: str) -> None:
    words = shlex.split(line)[1:]
    group: Any = typer.main.get_command(app)
    command = group.commands[words[0]]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= known


def test_every_command_is_in_the_table() -> None:
    group: Any = typer.main.get_command(app)
    assert set(re.findall(r"^\| `usert (\w+)` \|", README, flags=re.MULTILINE)) == set(group.commands)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
