"""What the troubleshooting page quotes is what the code says: every message in it is found in the sources."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
STAGES = ("usert", "runtime", "train", "export")
LEAST = 4
"""Letters of a piece between two omissions that is looked for."""


def quoted() -> list[str]:
    """The code spans in the first column of the tables."""
    cells = re.findall(r"^\| (.+?) \| ", PAGE, flags=re.MULTILINE)
    return sorted({span for cell in cells for span in re.findall(r"`([^`]+)`", cell)})


@cache
def said() -> str:
    """All strings of the sources, one a line, with … for what is filled in; and the words of the live page."""
    lines = [(ROOT / "runtime/view/static/words-en.json").read_text(encoding="utf-8")]
    for stage in STAGES:
        for path in (ROOT / stage).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                    lines.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    lines.append(node.value)
    return "\n".join(lines)


def pieces(quote: str) -> list[str]:
    return [piece for piece in (part.strip(" `(),:;") for part in quote.split("…")) if len(piece) >= LEAST]


def test_there_is_something_to_look_for() -> None:
    assert len(quoted()) > 60
    assert all(pieces(quote) for quote in quoted()), [quote for quote in quoted() if not pieces(quote)]


@pytest.mark.parametrize("quote", quoted())
def test_a_quoted_message_is_in_the_code(quote: str) -> None:
    missing = [piece for piece in pieces(quote) if piece not in said()]
    assert not missing
