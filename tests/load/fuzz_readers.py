"""Readers of `usert import` and recordings before damaged files, each in child processes.

Valid files of every format with bits turned, cut, spliced, repeated, with other lengths, counts, words and numbers.
Asserts of each that it is read, or refused in one line of an error of usert's own, that nothing is left beside it, and
that memory and time are bounded; what breaks this is kept in the folder, with what was told.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from reader_fuzz import READERS, fuzz_reader


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", type=int, default=100_000, help="of each reader")
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file, to go on with a seed")
    parser.add_argument("--folder", type=Path, help="for files that are findings; by default a new one")
    parser.add_argument("--lines", action="store_true", help="print the kinds of lines, too")


def run(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    folder = options.folder or Path(tempfile.mkdtemp(prefix="usert-fuzz-"))
    rows, wrong, lines = [], [], []
    for reader in options.readers.split(","):
        findings = fuzz_reader(reader, options.files, options.seed, folder, options.first)
        rows.append(findings.row)
        wrong += [
            {"file": str(kept), "wrong": outcome.kind, "told": outcome.told.strip().rpartition("\n")[2]}
            for outcome, kept in findings.wrong
        ]
        lines += [
            {"reader": reader, "count": count, "line": line} for line, count in findings.told.most_common()
        ]
    if not wrong and options.folder is None:
        folder.rmdir()
    return {
        "rows": rows,
        **({"wrong": wrong} if wrong else {}),
        **({"lines": lines} if options.lines else {}),
    }
