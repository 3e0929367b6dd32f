"""Reports of a selection of pairs: lines of text for a person, plain values for a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .selection import RejectedPair, Selection

_NAMED = 8
"""Pairs with a blank frame that a report names."""


def report(selection: Selection) -> str:
    """One line for each recording: the number of pairs used, their strain, and the reasons of rejection."""
    lines = []
    used = {pair.recording for pair in selection.chosen} | {pair.recording for pair in selection.rejected}
    for path in sorted(used):
        good = [pair for pair in selection.chosen if pair.recording == path]
        bad = Counter(pair.kind for pair in selection.rejected if pair.recording == path)
        line = f"{path.name}: {len(good)} pairs, {sum(len(pair.regions) for pair in good)} regions"
        if good:
            strains = [100 * abs(pair.strain) for pair in good]
            line += f", strain {min(strains):.2f} to {max(strains):.2f} %"
        if bad:
            line += "; left out for " + ", ".join(f"{kind} {count}" for kind, count in bad.most_common())
        lines.append(line + _blank_pairs([pair for pair in selection.rejected if pair.recording == path]))
    lines += [f"{path.name}: left out, {fault}" for path, fault in selection.skipped]
    return "\n".join(lines)


def _blank_pairs(rejected: Sequence[RejectedPair]) -> str:
    """Names of the pairs with a blank frame, and the first reason; empty where there are none."""
    blank = [pair for pair in rejected if pair.kind == "blank"]
    if not blank:
        return ""
    more = f" and {len(blank) - _NAMED} more" if len(blank) > _NAMED else ""
    return (
        "; blank: "
        + ", ".join(f"{pair.reference}:{pair.current}" for pair in blank[:_NAMED])
        + f"{more} ({blank[0].reason})"
    )


def to_json(selection: Selection) -> dict[str, Any]:
    """The selection as plain values for JSON."""
    return {
        "chosen": [asdict(pair) | {"recording": str(pair.recording)} for pair in selection.chosen],
        "rejected": [asdict(pair) | {"recording": str(pair.recording)} for pair in selection.rejected],
        "skipped": [{"recording": str(path), "reason": fault} for path, fault in selection.skipped],
    }
