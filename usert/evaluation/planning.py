"""The plan of the recordings and files of pairs named on the command line.

Invariant: options for windows apply to recordings only; a file of pairs sets them itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from usert.errors import OptionError
from usert.recording import Recording
from usert.runtime.offline.pairs import parse_pairs
from usert.strain import window_samples

from .choice import choose
from .plan import PlannedPair, PlannedTable, read_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Options for windows in recordings, as typed; None where not given."""

    target: str | None = None
    background: str | None = None
    homogeneous: str | None = None
    still: str | None = None
    strain_window_mm: float | None = None

    def fields(self, recording: Recording) -> dict[str, Any]:
        """Fields of a `PlannedPair` of that recording. Errors: `OptionError` for an impossible window."""
        fields = asdict(self)
        length_mm = fields.pop("strain_window_mm")
        if length_mm is not None:
            fields["strain_window_samples"] = window_samples(recording.scan, length_mm)
        return fields


def plan(
    inputs: Sequence[Path], *, pairs: str | None, count: int, look: Look
) -> tuple[tuple[PlannedTable, ...], tuple[str, ...]]:
    """Plan the evaluation of `inputs`: the tables, and a line on the chosen pairs of each recording.

    `pairs` names pairs of every recording, as I:J; if None, at most `count` of each are chosen. Files that end in .toml
    are read by `read_plan`. Errors: `OptionError`, `RecordingError`.
    """
    recordings = [path for path in inputs if path.suffix.lower() != ".toml"]
    given = {"--pairs": pairs} | {
        f"--{name.replace('_', '-')}": value for name, value in asdict(look).items()
    }
    if not recordings and (named := [option for option, value in given.items() if value is not None]):
        raise OptionError(
            f"{named[0]}: goes for recordings, got only files of pairs, expected it to stand in them"
        )
    fields: dict[Path, dict[str, Any]] = {}
    tables: list[PlannedTable] = []
    notes: tuple[str, ...] = ()
    for path in recordings:
        with Recording(path, as_rf=True) as recording:
            fields[path] = look.fields(recording)
            if pairs is not None:
                planned = tuple(
                    PlannedPair(recording=str(path), frames=frames, why="named: --pairs", **fields[path])
                    for frames in parse_pairs(pairs, len(recording))
                )
                tables.append(PlannedTable(title=path.name, pairs=planned))
    if recordings and pairs is None:
        chosen, notes = choose(fields, count=count)
        tables += chosen
    for path in inputs:
        if path not in recordings:
            tables += read_plan(path)
    return tuple(tables), notes
