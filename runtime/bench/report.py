"""The report of a benchmark: a table and sentences for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from usert.bundle import packaged_bundles
from usert.errors import OptionError
from usert.machine import machine_lines

from ..offline.outputs import beside
from .image_times import STAGES
from .rate_search import PROBABILITY
from .result import Report, Row

FORMAT = 1
"""Format number of the JSON object."""
_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("shape", "shape", "s"),
    ("engine", "engine", "s"),
    ("precision", "precision", "s"),
    ("at once", "at_once", "d"),
    ("holds/s", "held_hz", "3g"),
    ("from", "threshold_low_hz", "3g"),
    ("to", "threshold_high_hz", "3g"),
    ("trials", "trials", "d"),
    ("limit ms", "limit_ms", "3g"),
    ("frames/s", "frames_per_s", "3g"),
    ("p50 ms", "p50_ms", "3g"),
    ("p90", "p90_ms", "3g"),
    ("p99", "p99_ms", "3g"),
    ("p99.9", "p999_ms", "3g"),
    ("max", "max_ms", "3g"),
    ("n", "frames", "d"),
    ("queue", "queue", "s"),
    ("dropped %", "dropped_percent", "3g"),
    ("followed %", "followed_percent", "3g"),
    ("after pause p50", "after_pause_p50_ms", "3g"),
    ("max", "after_pause_max_ms", "3g"),
    *((f"{name} p50", f"stage_{name}_p50_ms", "3g") for name in STAGES),
    ("displ. rms", "displacement_rms_samples", "2g"),
    ("strain rms %", "strain_rms_percent", "2g"),
    ("to truth", "truth_rms_samples", "2g"),
    ("floor ms", "floor_ms", "3g"),
    ("x floor", "times_floor", "3g"),
    ("CPU ms", "cpu_ms", "3g"),
    ("RSS MB", "rss_mb", ".0f"),
    ("first RSS", "rss_begin_mb", ".1f"),
    ("last", "rss_end_mb", ".1f"),
    ("MB/min", "rss_mb_per_min", "2g"),
    ("GPU MB", "gpu_mb", ".0f"),
    ("warm-up s", "warm_up_s", "3g"),
    ("first ms", "first_ms", "3g"),
)
"""Heading, key and number format of each column."""
_NAMES = "bundle_name", "shape", "engine", "precision"


def flat(row: Row) -> Row:
    """A row without nesting, with the columns of the table that have other units."""
    stages: dict[str, dict[str, float]] = row["stages_ms"]
    plain = {key: value for key, value in row.items() if key != "stages_ms"}
    plain["dropped_percent"] = None if row["dropped_share"] is None else 100 * row["dropped_share"]
    plain["followed_percent"] = None if row["followed_share"] is None else 100 * row["followed_share"]
    for name in STAGES:
        for key in ("p50", "p99"):
            plain[f"stage_{name}_{key}_ms"] = stages[name][key] if name in stages else None
    return plain


def table(rows: Sequence[Row]) -> list[str]:
    """The table as aligned lines; a variant that failed has its error in place of figures."""
    plain = [flat(row) for row in rows]
    shown = [column for column in _COLUMNS if any(_known(row.get(column[1])) for row in plain)]
    if len({row["bundle"] for row in plain}) > 1:
        shown.insert(0, ("bundle", "bundle_name", "s"))
        for row in plain:
            row["bundle_name"] = Path(row["bundle"]).name
    cells = [[heading for heading, _, _ in shown]]
    cells += [[_cell(row.get(key), form) for _, key, form in shown] for row in plain]
    widths = [max(len(line[at]) for line in cells) for at in range(len(shown))]
    lines = []
    for number, line in enumerate(cells):
        padded = [
            text.ljust(width) if form == "s" else text.rjust(width)
            for text, width, (_, _, form) in zip(line, widths, shown, strict=True)
        ]
        error = plain[number - 1]["error"] if number else None
        if error is not None:
            names = [text for text, (_, key, _) in zip(padded, shown, strict=True) if key in _NAMES]
            padded = [*names, error]
        lines.append("  ".join(padded).rstrip())
    return lines


def told(report: Report) -> list[str]:
    """The whole report as lines of text."""
    lines = [*machine_lines(report.machine), _rates(report), "", f"{report.mode}:", *table(report.rows), ""]
    lines += _legend(report)
    lines += [line for row in report.rows for line in (_critical(row), _queue(row)) if line is not None]
    lines += _fastest(report.rows)
    lines += report.notes
    if report.absent:
        lines.append(f"not here: {', '.join(report.absent)}")
    return lines


def to_json(report: Report) -> str:
    """The report as JSON in one line; numbers that are not finite are null."""
    tree = {
        "benchmark": "usert bench",
        "format": FORMAT,
        "mode": report.mode,
        "machine": report.machine,
        "cpu_rates": asdict(report.rates),
        "rows": report.rows,
        "absent": report.absent,
        "notes": report.notes,
    }
    return json.dumps(_plain(tree), ensure_ascii=False, allow_nan=False)


def to_csv(report: Report) -> str:
    """The rows as CSV with a header."""
    out = io.StringIO()
    rows = [flat(row) for row in report.rows]
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if not _known(value) else value for key, value in row.items()} for row in rows)
    return out.getvalue()


def write(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; a link or a device, such as `/dev/stdout`, is written to as it is.

    Errors: `OptionError`.
    """
    if not path.is_symlink() and (path.is_file() or not path.exists()):
        with beside(path) as part:
            part.write_text(text, encoding="utf-8")
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from error


def _legend(report: Report) -> list[str]:
    lines = [
        "times: from when a frame was due to its answer, of n frames; of fewer than 1000, p99.9 is the largest"
    ]
    if any((row["at_once"] or 1) > 1 for row in report.rows):
        lines.append(
            "at once: pairs that run at the same time and share the threads, so that each takes longer and more are "
            "done; the floor is that of a pair on all threads"
        )
    if any(row["follow"] for row in report.rows):
        lines.append(
            "with --follow images start from the motion of those before, of frames in sequence; accuracy is of "
            "images from nothing, and the floor is that of the graph that follows"
        )
    if any(row["displacement_rms_samples"] is not None for row in report.rows):
        lines.append(
            "displ. rms (samples), strain rms: from the float32 graph of the first bundle; every answer was within its "
            "bundle's tolerances before it was timed"
        )
    return lines


def _rates(report: Report) -> str:
    return (
        f"peak of this CPU with {report.rows[0]['threads']} threads: {report.rates.flops / 1e9:.0f} GFLOP/s "
        f"(float32 matrix product), {report.rates.bytes / 1e9:.1f} GB/s (copy); the floor is a graph's convolutions "
        "and matrix products at these rates, in float32 whatever the precision"
    )


def _critical(row: Row) -> str | None:
    """A sentence on the critical rate; None where none was sought."""
    if row["trials"] is None:
        return None
    told = {key: _cell(value, "3g") for key, value in row.items() if isinstance(value, float)}
    low, high = told.get("threshold_low_hz"), told.get("threshold_high_hz")
    who = f"{row['shape']} {row['engine']} {row['precision']}, {row['threads']} threads"
    rate, within = f"{told['rate_hz']} frames a second", f"within {told['limit_ms']} ms"
    if row["search_fault"] is None and row["held_s"] is None:
        return f"{who}: holds no rate, not even {rate} {within} ({row['trials']} trials)"
    if low is None:
        ends = "at a rate that was not found" if high is None else f"below {high}"
    else:
        ends = f"beyond {low}" if high is None else f"at {low} to {high}"
    sure = f"{100 * PROBABILITY:.0f} % probability, {row['trials']} trials"
    half = f"half of the trials are held {ends} a second ({sure})"
    if row["search_fault"] is not None:
        known = f"so far {half}" if row["trials"] else "no rate was tried"
        return f"{who}: no rate is confirmed: {row['search_fault']}; {known}"
    in_time = f"{100 - 100 * row['late_share']:.4g} % of the frames had their image {within}"
    figures = [f"in {told['held_s']} s {in_time}", f"age p50 {told['p50_ms']} ms, p99 {told['p99_ms']} ms"]
    if row["rss_end_mb"] is not None:
        figures.append(f"memory {row['rss_begin_mb']:.0f} to {row['rss_end_mb']:.0f} MB")
    return f"{who}: {'does not hold' if row['held_hz'] is None else 'holds'} {rate} ({'; '.join(figures)}); {half}"


def _queue(row: Row) -> str | None:
    """A sentence on a growing queue or dropped frames; None where there is neither."""
    who = f"{row['shape']} {row['engine']} {row['precision']}"
    if row["queue"] == "grows":
        return (
            f"{who}: the queue grows: the source is faster than the engine, which answers {row['frames_per_s']:.3g} "
            f"frames a second; within a measurement latency rose by {row['waited_more_ms']:.0f} ms"
        )
    if row["queue"] == "drops":
        return (
            f"{who}: {100 * row['dropped_share']:.3g} % of the frames were dropped for newer ones: the engine answers "
            f"{row['frames_per_s']:.3g} a second"
        )
    return None


def _fastest(rows: Sequence[Row]) -> list[str]:
    """For each shape the options of the most frames a second in a closed loop, of the least median time at a rate,
    the scanner's own included.

    Nothing where there is no choice, or a rate was sought.
    """
    by_shape: dict[str, list[Row]] = {}
    for row in rows:
        if _known(row["p50_ms"]) and row["trials"] is None:
            by_shape.setdefault(row["shape"], []).append(row)
    several = len({row["bundle"] for row in rows}) > 1
    lines = []
    for shape, timed in by_shape.items():
        if len(timed) > 1:
            best = min(timed, key=lambda row: -row["frames_per_s"] if row["queue"] is None else row["p50_ms"])
            words = f"--engine {best['engine']} --precision {best['precision']}"
            if several:
                words = f"--bundle {_bundle_word(best['bundle'])} {words}"
            lines.append(f"{shape}: the fastest here: {words}")
    return lines


def _bundle_word(folder: str) -> str:
    """What `--bundle` takes for `folder`: the name of a bundle of the package, else the folder."""
    return next((name for name, path in packaged_bundles().items() if path == Path(folder)), folder)


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _cell(value: Any, form: str) -> str:
    if not _known(value):
        return ""
    if form.endswith("g"):  # significant digits, and never an exponent that a table makes hard to compare
        digits = int(form[:-1])
        text = f"{value:.{digits}g}"
        return f"{value:.0f}" if "e+" in text else text
    return format(value, "" if form == "s" else form)


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    return tree if not isinstance(tree, float) or math.isfinite(tree) else None
