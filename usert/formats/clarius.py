"""Clarius' raw data: `…_rf.raw` or `…_iq.raw` and beside it a `.yml` that states how it was made, or a `.tar` of both.

After the maker's public description, github.com/clariusdev/raw, README.md, common/python/rdataread.py and the `.yml`
files there: five little-endian uint32 (id, frames, lines, samples of a line, bytes of a sample), then for each frame a
time of 8 bytes and the samples, line after line; RF is beamformed int16, IQ a pair of int16, I and Q, whose
demodulation frequency no file states: it "depends on the scanner and workflow, and may also vary on scanning parameters
and depth". The times are nanoseconds from an event that is not stated: differences mean something, the date does not.
`delay samples` are those between the probe and the first one kept. A curved array's lines are not parallel. A `.raw`
may be packed by lzop (`.raw.lzo`, `usert.formats.lzop`), which is told by its first bytes.

Invariant: the size of a capture is what its header states, to the byte.
"""

from __future__ import annotations

import itertools
import math
import re
import struct
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..units import CLOCK_NS
from .declared import About, Declared
from .lzop import SIGNATURE, open_lzop
from .options import ImportOptions, SampleKind
from .samples import upright

_HEADER = struct.Struct("<5I")
_TIME_BYTES = 8
_KINDS: dict[int, SampleKind] = {2: "rf", 4: "iq-pairs"}
"""By the bytes of a sample."""
_YML_LIMIT, _CHUNK = 1 << 20, 1 << 20
_NUMBER = r"^{}:[ \t]*+([0-9]+(?:\.[0-9]+)?)[ \t]*+{}[ \t\r]*+$"
_ENDINGS = ("_rf.raw", "_iq.raw", "_rf.raw.lzo", "_iq.raw.lzo")
_PLACE = re.compile(r"rx element:[ \t]*+([0-9.]++)[^\n}]*?angle:[ \t]*+(-?[0-9.]++)")
_ANGLE = re.compile(r"angle:\s*(-?[0-9]+(?:\.[0-9]+)?)")


def read_clarius(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames (N, M) int16, of IQ with I and Q in turns along depth, in the order of the file."""
    with _capture(path) as (file, size, _):
        count, lines, samples, sample_bytes = _header(path, file)
        frame_bytes = lines * samples * sample_bytes
        expected = _HEADER.size + count * (_TIME_BYTES + frame_bytes)
        if size != expected or min(count, lines, samples) == 0:
            raise FormatError(
                f"{path}: {size} bytes, expected {expected} for {count} frames of {samples} x {lines}:"
                " the file is truncated, or none of a Clarius"
            )
        for _ in range(count):
            file.read(_TIME_BYTES)
            frame = np.frombuffer(file.read(frame_bytes), "<i2").reshape(lines, -1)
            yield upright(frame, lines_first=not options.transpose)


def about_clarius(path: Path, options: ImportOptions) -> About:
    """RF or IQ, and sampling and transmit frequency, delay and angles of the `.yml`, if there is one that states them.

    Raises `FormatError` where it states another type, or lines that lie upon one another.
    """
    with _capture(path) as (file, size, text):
        count, lines, samples, sample_bytes = _header(path, file)
        kind, frame_bytes = _KINDS[sample_bytes], lines * samples * sample_bytes
        whole = size == _HEADER.size + count * (_TIME_BYTES + frame_bytes)
        times = _times(file, count, frame_bytes) if whole else ()
    stated = re.search(r"^type:\s*(\w+)", text, re.MULTILINE)
    if stated is not None and stated[1].upper() != kind[:2].upper():
        raise FormatError(
            f"{path}: its .yml states type {stated[1]}, expected {kind[:2].upper()}, by the bytes of its samples:"
            " capture in RF or IQ mode, and keep the .yml of that file"
        )
    places = _PLACE.findall(text)
    if any(a == b for a, b in itertools.pairwise(places)):
        raise FormatError(f"{path}: its .yml has lines at one place (Doppler), expected those of B-mode")

    def number(key: str, unit: str = "") -> float | None:
        found = re.search(_NUMBER.format(key, unit), text, re.MULTILINE)
        return None if found is None else float(found[1])

    def hertz(key: str) -> float | None:
        mhz = number(key, "MHz")
        return None if mhz is None else 1e6 * mhz

    notes = []
    if number("sampling rate", "MHz") is None:
        notes.append(f"{path}: no .yml of that capture, or a damaged one, so its frequencies are unknown")
    angles = [float(angle) for angle in _ANGLE.findall(text)]
    if any(angles):
        notes.append(
            f"{path}: its lines are at {min(angles):g} to {max(angles):g} degrees;"
            " without --radius-mm they are kept side by side"
        )
    return About(
        kind=kind,
        geometry=Declared(
            fs_hz=hertz("sampling rate"),
            f0_hz=hertz("transmit frequency"),
            delay_samples=number("delay samples"),
            line_angle_deg=_even_step(angles),
        ),
        acquired_ns=times,
        notes=tuple(notes),
    )


def _times(file: IO[bytes], count: int, frame_bytes: int) -> tuple[int, ...]:
    """Time of each frame; empty where they do not rise, or are as large as those of a wall clock."""
    times = []
    for _ in range(count):
        times.append(int.from_bytes(file.read(_TIME_BYTES), "little"))
        left = frame_bytes
        while left and (read := len(file.read(min(left, _CHUNK)))):  # what is packed cannot be skipped
            left -= read
    rising = all(before < after for before, after in itertools.pairwise(times))
    return tuple(times) if times and rising and times[-1] < CLOCK_NS else ()


def _even_step(angles: list[float]) -> float | None:
    """The step of angles that rise evenly about 0, as a curved or phased array's do; else None."""
    if len(angles) < 2 or not all(map(math.isfinite, angles)) or angles[-1] <= angles[0]:
        return None
    step = (angles[-1] - angles[0]) / (len(angles) - 1)
    even = np.abs(np.subtract(angles, np.linspace(-1, 1, len(angles)) * step * (len(angles) - 1) / 2)).max()
    return step if even < step / 2 else None


def _header(path: Path, file: IO[bytes]) -> tuple[int, int, int, int]:
    """Frames, lines, samples of a line, bytes of a sample."""
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        raise FormatError(f"{path}: {len(head)} bytes, expected a header of {_HEADER.size}: not a .raw file")
    _, count, lines, samples, sample_bytes = _HEADER.unpack(head)
    if sample_bytes not in _KINDS:
        raise FormatError(
            f"{path}: {sample_bytes} bytes a sample, expected 2 of RF or 4 of IQ: an envelope has 1;"
            " take the …_rf.raw or …_iq.raw"
        )
    return count, lines, samples, sample_bytes


@contextmanager
def _capture(path: Path) -> Iterator[tuple[IO[bytes], int, str]]:
    """The samples' file, its size, and the text of its `.yml`, empty where there is none."""
    if path.suffix.lower() != ".tar":
        plain = path.with_suffix("") if path.suffix.lower() == ".lzo" else path
        try:
            with plain.with_suffix(".yml").open("rb") as yml:
                text = yml.read(_YML_LIMIT)
        except OSError:
            text = b""
        with path.open("rb") as file:
            yield *_plain(path, file, path.stat().st_size), text.decode("utf-8", "replace")
        return
    try:
        with tarfile.open(path, "r:") as archive:
            members = {m.name: m for m in archive.getmembers() if m.isreg() and not m.issparse()}
            found = [name for name in members if name.endswith(_ENDINGS)]
            if len(found) != 1:
                raise FormatError(
                    f"{path}: holds {', '.join(members) or 'nothing'}, expected one …_rf.raw or …_iq.raw, packed or"
                    " not: capture in RF or IQ mode, or unpack it"
                )
            beside = members.get(found[0].removesuffix(".lzo").removesuffix(".raw") + ".yml")
            text = _extract(archive, beside).read(_YML_LIMIT) if beside else b""
            raw = members[found[0]]
            yield *_plain(path, _extract(archive, raw), raw.size), text.decode("utf-8", "replace")
    except (tarfile.TarError, EOFError) as error:
        raise FormatError(f"{path}: not a sound .tar file ({error})") from error


def _plain(path: Path, file: IO[bytes], size: int) -> tuple[IO[bytes], int]:
    """What is in the file, unpacked if it is packed, and its size."""
    packed = file.read(len(SIGNATURE)) == SIGNATURE
    file.seek(0)
    return open_lzop(path, file) if packed else (file, size)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None  # a regular file
    return file
