"""Readers of files before damaged files: `usert import` of each format, and `usert.recording`, in child processes.

A child reads file after file by the function that the command line calls, and a new one goes on after a crash or a
hang. What must hold of each file: it is read, or one line of an error of usert's own says why not; nothing is left
beside it; memory and time are bounded. Invariant: a file that breaks this is kept.
"""

from __future__ import annotations

import io
import multiprocessing
import random
import re
import shutil
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from inspect import signature
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from file_mutations import FileMutations
from foreign_files import LINES, MAKERS, SAMPLES, ForeignFile, valid_files
from foreign_iq import DEMODULATIONS, KINDS, OTHERS, valid_iq_files

from usert.commands.import_ import import_frames
from usert.commands.info import recording_card
from usert.errors import FrameError, UsertError
from usert.formats import isolated
from usert.recording import Recording, layout

READERS = tuple(MAKERS)
Options: TypeAlias = dict[str, Any]
_GEOMETRY: Options = {"fs_mhz": 40.0, "f0_mhz": 6.25, "line_pitch_mm": 0.2}
_ANY: tuple[Options, ...] = (_GEOMETRY, _GEOMETRY, {"line_pitch_mm": 0.2}, {"fs_mhz": 40.0, "f0_mhz": 6.25})
_OPTIONS: dict[str, tuple[Options, ...]] = {
    "alpinion": (_GEOMETRY,),
    "numpy": (_GEOMETRY,),
    "mat": tuple(
        {**_GEOMETRY, "variable": names}
        for names in ([], ["rf"], ["data.rf"], ["cells{2}"], ["cells", "rf"], ["data(2).rf"])
    ),
    "raw": tuple(
        {**_GEOMETRY, "shape": f"{SAMPLES}x{LINES}", "sample_type": kind} for kind in ("float32", "int16")
    ),
}
_PATIENCE_S = 30.0
"""Of the parent for one file: more is a hang."""
_PATIENCE_AT_START_S = 300.0
"""For a child to import what it needs and to read the valid files."""
_COMPUTING_S = 0.5
"""What a file may cost in a process of its own; 20 s for a user."""
_ATTEMPTS = 16
"""At metadata that is damaged where a writer may be at work: no wait to speak of; 30, a second in all, for a user."""
_MOST_MB, _MOST_TIMES = 48.0, 16
_LONGEST_LINE = 2000
_unraisable: list[str] = []
"""What no one could catch, such as a warning of a file that was not closed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    number: int
    kind: str
    """`read`, `refused`, or what is wrong."""
    told: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0
    """By which both processes grew."""
    how: str = ""


@dataclass(slots=True)
class Findings:
    """What became of the files of one reader."""

    reader: str
    kinds: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    """Lines by their kind: without names and numbers."""
    wrong: list[tuple[Outcome, Path]] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0

    @property
    def row(self) -> dict[str, Any]:
        crashed = sum(count for line, count in self.told.items() if "its reader crashed" in line)
        endless = sum(count for line, count in self.told.items() if "of computing" in line)
        return {
            "reader": self.reader,
            "files": sum(self.kinds.values()),
            "read": self.kinds["read"],
            "refused": self.kinds["refused"],
            "of these crashed a library": crashed,
            "of these without end": endless,
            "kinds of lines": len(self.told),
            "slowest (s)": round(self.seconds, 2),
            "memory at most (MB)": round(self.peak_mb, 1),
            "wrong": len(self.wrong),
            "right": "no" if self.wrong else "yes",
        }


def fuzz_reader(reader: str, count: int, seed: int, folder: Path, first: int = 0) -> Findings:
    """`count` damaged files of one reader; those that break what must hold are kept in `folder`."""
    findings = Findings(reader)
    number = first
    while number < first + count:
        for outcome in _in_a_child(reader, seed, number, first + count - number, folder):
            number = outcome.number + 1
            findings.kinds[outcome.kind] += 1
            findings.seconds = max(findings.seconds, outcome.seconds)
            findings.peak_mb = max(findings.peak_mb, outcome.peak_mb)
            findings.told[_kind_of(outcome.told)] += 1
            if outcome.kind not in ("read", "refused"):
                findings.wrong.append((outcome, folder / f"{reader}-{seed}-{outcome.number}"))
    shutil.rmtree(folder / reader, ignore_errors=True)
    return findings


def _kind_of(line: str) -> str:
    line = re.sub(r"^/\S*: ", "", line)
    line = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", line)
    return re.sub(r"-?[0-9][0-9.e+]*", "#", line)[:160]


def _in_a_child(reader: str, seed: int, first: int, count: int, folder: Path) -> Iterator[Outcome]:
    """Outcomes up to the last file, or to one at which the child ended, which is the last then."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, reader, seed, first, count, folder))
    process.start()
    theirs.close()
    number, patience_s = first, _PATIENCE_AT_START_S
    try:
        with ours:
            while number < first + count:
                try:
                    if ours.poll(patience_s):
                        if (outcome := ours.recv()) is not None:
                            yield outcome
                            number += 1
                        patience_s = _PATIENCE_S
                        continue
                    outcome = Outcome(number, "hangs", seconds=patience_s)
                except EOFError:
                    process.join()
                    if process.exitcode == 1:
                        raise RuntimeError(f"{reader}: the child ended with an error of its own") from None
                    outcome = Outcome(number, f"crashes ({process.exitcode})")
                _keep(folder, reader, seed, outcome)
                yield outcome
                return
    finally:
        process.kill()
        process.join()
        process.close()


def _child(connection: Connection, reader: str, seed: int, first: int, count: int, folder: Path) -> None:
    isolated._FEWEST_S = _COMPUTING_S
    layout._ATTEMPTS = _ATTEMPTS
    warnings.simplefilter("error")
    sys.unraisablehook = lambda found: _unraisable.append(
        f"{type(found.exc_value).__name__}: {found.exc_value}"
    )
    files = valid_files(reader) + valid_iq_files(reader)
    place = folder / reader
    for file in files:  # and what is loaded at first use has been loaded
        _fill(place, file)
        outcome = _read(reader, place, file, 0, _OPTIONS.get(reader, _ANY)[0] | file.options)
        if outcome.kind != "read" and (outcome.kind != "refused" or reader != "mat" or file.options):
            raise AssertionError(f"{reader}: a valid file: {outcome}")
    connection.send(None)  # ready
    for number in range(first, first + count):
        rng = random.Random(f"{seed} {reader} {number}")
        file = rng.choice(files)
        options = _some_options(rng, reader, file)
        mutations = FileMutations(f"{seed} {reader} {number}")
        if file.beside and rng.random() < 0.4:
            (name, content), *rest = file.beside
            how, changed = mutations.of(content, [file.content])
            damaged = replace(file, beside=((name, changed), *rest))
        else:
            how, changed = mutations.of(file.content, [other.content for other in files])
            damaged = replace(file, content=changed)
        _fill(place, damaged)
        outcome = _read(reader, place, damaged, number, options)
        if outcome.kind not in ("read", "refused"):
            _keep(folder, reader, seed, replace(outcome, how=f"{how} {options}"))
        connection.send(outcome)


def _some_options(rng: random.Random, reader: str, file: ForeignFile) -> Options:
    """What the file needs, sometimes with another kind, demodulation frequency or other option instead."""
    options = {**rng.choice(_OPTIONS.get(reader, _ANY)), **file.options, "unchecked": rng.random() < 0.7}
    if rng.random() < 0.15:
        options["kind"] = rng.choice(KINDS)
    if rng.random() < 0.15:
        options["demodulation_mhz"] = rng.choice(DEMODULATIONS)
    return options | (rng.choice(OTHERS) if rng.random() < 0.1 else {})


def _keep(folder: Path, reader: str, seed: int, outcome: Outcome) -> None:
    kept = folder / f"{reader}-{seed}-{outcome.number}"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder / reader, kept)
    (kept / "told.txt").write_text(f"{outcome.kind}: {outcome.how}\n{outcome.told}\n", "utf-8")


def _fill(place: Path, file: ForeignFile) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name, content in ((file.name, file.content), *file.beside):
        (place / name).write_bytes(content)


def _read(reader: str, place: Path, file: ForeignFile, number: int, options: Options) -> Outcome:
    size = sum(len(content) for _, content in (("", file.content), *file.beside))
    pids = ["self", *(str(child._process.pid) for child in isolated._idle)]
    before = [_memory(pid, reset=True)[0] for pid in pids]
    begin = time.perf_counter()
    kind, told = _outcome(reader, place, place / file.name, options)
    seconds = time.perf_counter() - begin
    grown = [max(_memory(pid)[1] - had, 0.0) for pid, had in zip(pids, before, strict=True)]
    left = sorted(
        {p.name for p in place.iterdir()} - {file.name, *(name for name, _ in file.beside), "out.h5"}
    )
    there = (place / "out.h5").exists()
    if left or (there and kind != "read"):
        kind, told = "leaves a file", f"{left} {told}"
    if _unraisable:
        kind, told = "traceback", _unraisable.pop()
    most = _MOST_MB, isolated._LEAST_BYTES / 1e6
    if any(some > fixed + _MOST_TIMES * size / 1e6 for some, fixed in zip(grown, most, strict=False)):
        kind = "swells"
    (place / "out.h5").unlink(missing_ok=True)
    return Outcome(number, kind, told, seconds, sum(grown))


def _outcome(reader: str, place: Path, path: Path, options: Options) -> tuple[str, str]:
    """What became of the file, and what was told."""
    shown, errors = io.StringIO(), io.StringIO()
    out = place / "out.h5"
    try:
        with redirect_stdout(shown), redirect_stderr(errors):
            if reader == "recording":
                _read_recording(path)
            else:
                import_frames(**_defaults() | options | {"files": [path], "file_format": reader, "out": out})
                _read_recording(out)
    except UsertError as error:
        told = str(error)
        good = type(error) is not UsertError and bool(told.strip()) and told.isprintable()
        return "refused" if good and len(told) <= _LONGEST_LINE else "unclear line", told
    except Exception:
        return "traceback", traceback.format_exc()
    lines = (shown.getvalue() + errors.getvalue()).splitlines()
    if any(not line.isprintable() or len(line) > _LONGEST_LINE for line in lines):
        return "unclear line", "\n".join(lines)
    return "read", ""


@cache
def _defaults() -> Options:
    """What the command line passes where an option is left out."""
    return {name: option.default.default for name, option in signature(import_frames).parameters.items()}


def _read_recording(path: Path) -> None:
    """All of it, as the commands do, IQ also turned up to RF."""
    with Recording(path) as recording:
        recording_card(recording)
    for as_rf in (False, True):
        blank = (FrameError,) * as_rf  # of IQ without echoes no RF is made
        with Recording(path, as_rf=as_rf) as recording, suppress(*blank):
            for k, _ in enumerate(recording):
                _ = recording.truth(k - 1) if recording.has_truth and k else None


def _memory(pid: str, *, reset: bool = False) -> tuple[float, float]:
    """Resident memory of a process in MB, now and at most since the reset; 0 for one that has ended."""
    try:
        if reset:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 0.0
    found = [re.search(rf"{key}:\s+([0-9]+) kB", status) for key in ("VmRSS", "VmHWM")]
    now, most = (int(some[1]) / 1024 if some else 0.0 for some in found)
    return now, most
