"""The automatic choice of the pairs to evaluate: those that training would choose.

Invariant: each pair carries the reason why it was chosen, and rejected pairs are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from usert.errors import MissingExtraError, require

from .plan import PlannedPair, PlannedTable


def choose(
    recordings: Mapping[Path, Mapping[str, Any]], *, count: int
) -> tuple[tuple[PlannedTable, ...], tuple[str, ...]]:
    """Choose at most `count` pairs of each recording: a table for each, and a line on what was rejected in each.

    `recordings` maps paths to further fields of their `PlannedPair`s. Errors: `RecordingError` where no pair can be
    used, `MissingExtraError` without torch.
    """
    try:
        require("torch", "train")
    except MissingExtraError as error:
        raise MissingExtraError(f"{error}, which chooses pairs, or name them: --pairs I:J") from error
    from usert.train.finetune.selection import SelectionConfig, select

    found = select(list(recordings), SelectionConfig(pairs_a_recording=count))
    tables = []
    lines = [f"{path}: left out, {fault}" for path, fault in found.skipped]
    judged = {pair.recording for pair in found.chosen} | {pair.recording for pair in found.rejected}
    for path in filter(judged.__contains__, recordings):
        pairs = [pair for pair in found.chosen if pair.recording == path]
        rejected = [pair for pair in found.rejected if pair.recording == path]
        kinds = Counter(pair.kind for pair in rejected).most_common()
        left = "; left out for " + ", ".join(f"{kind} {number}" for kind, number in kinds) if kinds else ""
        lines.append(f"{path}: {len(pairs)} of {len(pairs) + len(rejected)} pairs that were looked at{left}")
        if pairs:
            planned = tuple(
                PlannedPair(
                    recording=str(path),
                    frames=(pair.reference, pair.current),
                    why=f"chosen as for training: strain {100 * pair.strain:.2f} %, correlation "
                    f"{pair.correlation:.2f}, {pair.lag} frame{'' if pair.lag == 1 else 's'} apart",
                    **recordings[path],
                )
                for pair in pairs
            )
            tables.append(PlannedTable(title=path.name, pairs=planned))
    return tuple(tables), tuple(lines)
