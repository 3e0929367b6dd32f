"""What the README names is there: its table has every command, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from usert.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_is_in_the_table() -> None:
    group: Any = typer.main.get_command(app)
    assert set(re.findall(r"^\| `usert ([\w-]+)` \|", README, flags=re.MULTILINE)) == set(group.commands)


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert "docs/protocol.md" in targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
