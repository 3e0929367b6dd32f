"""Each format, bridge and sender stands in its page with one tier: how far it was tried."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from usert.cli import app
from usert.formats import FORMATS

ROOT = Path(__file__).parents[2]
TIERS = "description only", "stand-in", "real file", "live"


def tiers(page: str, heading: str) -> dict[str, str]:
    """The rows of the table below the line that begins with `heading`, each with the tier in its last cell."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = re.search(rf"^{re.escape(heading)}.*\n\|[-|]+\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    assert table is not None
    found = {}
    for row in table[1].splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        told = re.findall(r"\*\*(.+?)\*\*", cells[-1])
        assert len(told) == 1, row
        assert told[0] in TIERS, row
        assert cells[0] not in found, row
        found[" ".join(cells[:-1])] = told[0]
    return found


def test_each_format_has_one_tier() -> None:
    rows = tiers("formats.md", "| `--format` |")
    names = [match[1] for row in rows if (match := re.match(r"`(\w+)` (?!\()", row))]
    assert sorted(names) == sorted(FORMATS)


def test_each_format_bridge_and_sender_is_in_the_table_of_scanners() -> None:
    rows = tiers("scanners.md", "| from |")
    told = " ".join(rows)
    group: Any = typer.main.get_command(app)
    bridges = {f"usert bridge {name}" for name in group.commands["bridge"].commands}
    listed = {f"usert bridge {name}" for name in re.findall(r"`usert bridge ([\w-]+)", told)}
    assert listed == bridges, "a row for each of `usert bridge` in docs/scanners.md, How far each was tried"
    assert {name for name in FORMATS if not re.search(rf"\b{name}`", told)} == set()
    senders = {str(path.relative_to(ROOT)) for path in (ROOT / "examples").glob("*sender*.py")}
    senders |= {str(path.relative_to(ROOT)) for path in (ROOT / "examples" / "senders").glob("*/")}
    assert {name for name in senders if f"`{name}" not in told} == set(), "senders without a tier"
    assert "`FrameSender`" in told


def test_a_format_has_the_same_tier_on_both_pages() -> None:
    stated = {}
    for row, tier in tiers("formats.md", "| `--format` |").items():
        name, maker = re.match(r"`(\w+)` (?:\((\w+)\))?", row).groups()  # type: ignore[union-attr]
        stated[name, maker or ""] = tier
    for row, tier in tiers("scanners.md", "| from |").items():
        for name in re.findall(r"(?<=[ `])(\w+)`", row):
            if "`usert import" in row:
                maker = next((maker for other, maker in stated if other == name and maker in row.split()), "")
                assert tier == stated[name, maker], row


def test_each_maker_with_a_section_of_its_own_is_in_the_table() -> None:
    text = (ROOT / "docs" / "scanners.md").read_text(encoding="utf-8")
    told = " ".join(tiers("scanners.md", "| from |"))
    makers = re.findall(r"^## ([\w/]+)", text.partition("\n## Files of your own")[0], flags=re.MULTILINE)
    assert {"Alpinion", "Verasonics", "PLUS"} <= set(makers)
    assert [name for name in makers if name not in told] == []
