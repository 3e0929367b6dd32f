"""docs/install.md: every extra is on it, and every file that its commands name is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def test_the_table_has_every_extra() -> None:
    table = PAGE.partition("## Extras")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \|", table, flags=re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(EXTRAS)


def test_no_command_asks_for_an_extra_that_is_not_there() -> None:
    asked = {
        extra for found in re.findall(r"(?:usert|\.|whl)\[([\w,]+)\]", PAGE) for extra in found.split(",")
    }
    assert asked
    assert asked <= set(EXTRAS)


def test_the_files_of_docker_are_there() -> None:
    named = set(re.findall(r"docker/[\w.-]+\.(?:Dockerfile|yaml)", PAGE))
    there = (path.name for path in (ROOT / "docker").iterdir() if path.suffix in (".Dockerfile", ".yaml"))
    assert named == {f"docker/{name}" for name in there}
