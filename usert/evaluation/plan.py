"""The plan of an evaluation: tables of pairs of recordings, from a TOML file or the command line.

    [[tables]]
    title = "Phantom with a stiff lesion"
    target = "1230:1450,170:212"             # of all pairs of the table that have none of their own
    background = "1230:1450,60:102"

    [[tables.pairs]]
    recording = "phantom.h5"                 # beside this file
    frames = [248, 253]                      # reference, current

No samples are read before a pair is loaded. Invariant: a pair that passes `check` can be loaded.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from usert.errors import OptionError, RecordingError
from usert.front_end import TYPICAL
from usert.quality import Window
from usert.recording import Recording
from usert.schema import Schema
from usert.strain import window_samples

from .pair import BORDER, WINDOWS, Pair
from .truth import true_motion


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPair:
    """A pair of a recording, not loaded yet; fields as in `Pair`."""

    recording: str
    """Path of the recording; in a TOML file relative to the file's folder."""
    frames: tuple[int, int]
    """Reference and current frame, counted from 0."""
    name: str = ""
    """Name of the pair; empty: the numbers of its frames."""
    strain_window_samples: int | None = None
    """Length of the strain's fit in samples, of IQ in those of the RF that it is turned up to; None for that of the
    default bundle."""
    ncc_rows: tuple[int, int] | None = None
    """First and one past the last row of the mean correlation; None for all but the border."""
    homogeneous: str | None = None
    """A window, `rows,lines` such as `500:750,110:260`; so are the next three."""
    target: str | None = None
    background: str | None = None
    still: str | None = None
    twice: str | None = None
    why: str = "named"
    """Why the pair was chosen."""

    @property
    def label(self) -> str:
        """Name of the pair, or the numbers of its frames where it has none."""
        return self.name or f"{self.frames[0]} → {self.frames[1]}"

    @property
    def windows(self) -> dict[str, Window]:
        """The windows that are set, by name. Errors: `OptionError` that names the window."""
        found = {}
        for name in WINDOWS:
            text = getattr(self, name)
            if text is not None:
                try:
                    found[name] = Window.parse(text)
                except OptionError as error:
                    raise OptionError(f"{name}: {error}") from error
        return found

    def check(self, default_window: int) -> tuple[int, int]:
        """Check that the pair can be loaded, and return the shape (N, M) of its frames.

        `default_window` is the strain window in samples for a pair that sets none; of IQ it is as long as in RF of a
        common sampling frequency. Errors: `RecordingError`, `OptionError`.
        """
        where = f"{self.recording} {self.frames[0]}:{self.frames[1]}"
        with Recording(self.recording, as_rf=True) as recording:
            count, shape = len(recording), recording.shape
            has_truth = recording.has_truth
            rows = round(shape[0] / recording.rows_a_row)  # of the file, in which windows are told
            window = self._strain_window(recording, default_window)
        if not 0 <= min(self.frames) <= max(self.frames) < count:
            raise OptionError(
                f"{where}: got frames out of range, expected 0 to {count - 1}: there are {count}"
            )
        if self.frames[0] == self.frames[1]:
            raise OptionError(f"{where}: got a frame and itself, expected two different frames")
        if window < 3 or window % 2 == 0:
            raise OptionError(f"{where}: strain window of {window} samples, expected an odd number from 3 up")
        if shape[0] < window:
            raise OptionError(
                f"{where}: frames of {shape[0]} samples, expected {window} or more: the strain window"
            )
        if (has_truth or self.ncc_rows is None) and any(
            side <= 2 * border for side, border in zip(shape, BORDER, strict=True)
        ):
            raise OptionError(
                f"{where}: frames of {shape[0]} x {shape[1]}, expected more than {2 * BORDER[0]} x {2 * BORDER[1]}: "
                "the border is left out"
            )
        if self.ncc_rows is not None and not 0 <= self.ncc_rows[0] < self.ncc_rows[1] <= rows:
            first, end = self.ncc_rows
            raise OptionError(f"{where}: ncc_rows {first}:{end}, expected a:b within 0:{rows}")
        for name, area in self.windows.items():
            try:
                area.of(np.broadcast_to(np.float32(0), (rows, shape[1])))
            except OptionError as error:
                raise OptionError(f"{where}: {name}: {error}") from error
        if (self.target is None) != (self.background is None):
            raise OptionError(f"{where}: got one of target and background, expected both or neither")
        return shape

    def load(self, default_window: int) -> Pair:
        """Load samples and truth; `default_window` as in `check`. Errors: `RecordingError`."""
        with Recording(self.recording, as_rf=True) as recording:
            reference, current = (recording.frame(k) for k in self.frames)

            def turned_up(rows: tuple[int, int]) -> tuple[int, int]:
                return round(recording.rows_a_row * rows[0]), round(recording.rows_a_row * rows[1])

            return Pair(
                name=self.label,
                pre=reference.samples,
                post=current.samples,
                scan=recording.scan,
                strain_window=self._strain_window(recording, default_window),
                ncc_rows=turned_up(self.ncc_rows)
                if self.ncc_rows
                else (BORDER[0], recording.shape[0] - BORDER[0]),
                truth=true_motion(recording, *self.frames),
                twice=self.twice,
                **{
                    name: replace(window, rows=turned_up(window.rows))
                    for name, window in self.windows.items()
                },
            )

    def _strain_window(self, recording: Recording, default: int) -> int:
        if self.strain_window_samples is not None:
            return self.strain_window_samples
        if recording.kind == "rf":
            return default
        scan = recording.scan
        return window_samples(scan, default * TYPICAL / scan.cycles_per_sample * scan.axial_pitch_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTable:
    """The pairs of one table of figures."""

    title: str
    pairs: tuple[PlannedPair, ...]

    def check(self, default_window: int, observe: Callable[[], None] = lambda: None) -> None:
        """Check all pairs; `observe` is called after each.

        Errors: `RecordingError`, `OptionError` with pair and reason.
        """
        if not self.pairs:
            raise OptionError(f"table {self.title!r}: got no pairs, expected at least one")
        seen: dict[str, tuple[int, int]] = {}
        for pair in self.pairs:
            shape = pair.check(default_window)
            if pair.twice is not None and seen.get(pair.twice) != shape:
                raise OptionError(
                    f"table {self.title!r}, pair {pair.label!r}: twice = {pair.twice!r}, expected the name of a pair "
                    f"before it, of {shape[0]} x {shape[1]} samples as well"
                )
            seen[pair.label] = shape
            observe()


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    tables: tuple[PlannedTable, ...]


def read_plan(path: Path) -> tuple[PlannedTable, ...]:
    """Read the tables of a TOML file.

    Errors: `RecordingError` if there is no such file, `OptionError` that names the file and the key for what it holds.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordingError(f"{path}: no such file, expected pairs to evaluate as TOML") from None
    except OSError as error:
        raise OptionError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # UnicodeDecodeError and TOMLDecodeError
        raise OptionError(f"{path}: not valid TOML: {error}") from error
    try:
        return Schema(error=OptionError).build(_File, _with_defaults(tree, path)).tables
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error


def _with_defaults(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """Pairs with the defaults of their table, and paths relative to the folder of the file."""
    tables = tree.get("tables")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return tree  # the schema says what is wrong
    return {**tree, "tables": [_table_with_defaults(table, path) for table in tables]}


def _table_with_defaults(table: dict[str, Any], path: Path) -> dict[str, Any]:
    pairs = table.get("pairs")
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
        return table
    own = {key: value for key, value in table.items() if key in ("title", "pairs")}
    defaults = {key: value for key, value in table.items() if key not in own}
    merged = [{"why": f"named in {path.name}"} | defaults | pair for pair in pairs]
    for pair in merged:
        if isinstance(pair.get("recording"), str):
            pair["recording"] = str(path.parent / pair["recording"])
    return own | {"pairs": merged}
