"""`usert import`: files of other makers into one recording.

Knows the options only; the formats live in `usert.formats`. Invariant: the recording is there whole or not at
all.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from usert.commands.option import option, switch

if TYPE_CHECKING:
    from usert.formats import SampleKind


def import_frames(
    files: list[Path] = typer.Argument(..., help="Files in the order of their frames, or a folder of them."),
    file_format: str = typer.Option(
        ..., "--format", help="alpinion, clarius, mat, metaimage, nrrd, numpy, raw, uff, ultrasonix or zea."
    ),
    out: Path = typer.Option(..., help="The recording to write (HDF5): a new file."),
    fs_mhz: float | None = typer.Option(
        None,
        help="Sampling frequency along depth; required, like the next two, where the file does not state it.",
    ),
    f0_mhz: float | None = typer.Option(None, help="Centre frequency of the pulse."),
    line_pitch_mm: float | None = typer.Option(
        None,
        help="Distance of neighbouring scan lines; of a curved or phased array half-way down, by default computed.",
    ),
    radius_mm: float | None = typer.Option(
        None, help="Radius of a curved array, 0 of a phased one; by default lines are parallel."
    ),
    line_angle_deg: float | None = typer.Option(
        None, help="Angle between neighbouring lines of a curved or phased array."
    ),
    first_depth_mm: float | None = typer.Option(
        None, help="Depth of the file's first row below the array; by default what the file states, else 0."
    ),
    kind: str | None = typer.Option(
        None,
        help="rf; rf-lines: a line of RF, a line of its Hilbert transform; iq: complex numbers, or a last axis of 2; "
        "iq-pairs: I and Q in turns along depth; iq-lines: a line of I, a line of Q. By default what the file states, "
        "else rf.",
    ),
    demodulation_mhz: str | None = option(
        None,
        "MHZ",
        "Demodulation frequency of IQ; required where the file does not state it, and f0 unless that is "
        "known. Where it changes with depth, row:MHZ,row:MHZ,…",
    ),
    sound_speed: float | None = typer.Option(
        None, help="Speed of sound in m/s; by default what the file states, else 1540."
    ),
    rows: str | None = typer.Option(None, help="Axial samples to keep, a:b with b left out."),
    variable: list[str] = typer.Option(
        [], help="mat, numpy, uff: name of the array; more, in the order of their frames."
    ),
    shape: str | None = option(None, "NxM", "raw: samples x lines of one frame."),
    sample_type: str = typer.Option("float32", help="raw: float32 or int16, little-endian."),
    transpose: bool = switch("--transpose", "The files hold scan lines first."),
    unchecked: bool = switch(
        "--unchecked", "Import also what looks like anything but RF or IQ of the frequencies given."
    ),
) -> None:
    """Turn frames of a scanner or a simulation into a recording."""
    from usert.commands.info import describe_clock, describe_demodulation, describe_lines
    from usert.commands.shape_option import parse_shape
    from usert.errors import FormatError, OptionError, expect
    from usert.formats import (
        FORMATS,
        Declared,
        ImportOptions,
        Rows,
        about_files,
        kind_of_files,
        list_files,
        read_frames,
        rows_of_files,
    )
    from usert.formats.declared import parse_demodulation
    from usert.iq import rf_rows
    from usert.output_file import check_output_file
    from usert.recording import Recording, write_recording
    from usert.signal_check import check_axes, check_frames, check_motion
    from usert.strain import STRAIN_WINDOW_SAMPLES

    expect(file_format in FORMATS, "--format", f"{file_format!r}", f"one of {', '.join(FORMATS)}")
    paths, notes = list_files(files, FORMATS[file_format].endings)
    options = ImportOptions(
        rows=None if rows is None else Rows.parse(rows),
        variables=tuple(variable),
        shape=None if shape is None else parse_shape(shape),
        sample_type=sample_type,
        transpose=transpose,
        kind=cast("SampleKind | None", kind),
    )
    if out.resolve() in [path.resolve() for path in paths]:
        raise OptionError(f"--out: got {out}, which is also read, expected another name")
    check_output_file(out, option="--out", new=True)
    asked = Declared(
        fs_hz=None if fs_mhz is None else 1e6 * fs_mhz,
        f0_hz=None if f0_mhz is None else 1e6 * f0_mhz,
        sound_speed_m_s=sound_speed,
        line_pitch_mm=line_pitch_mm,
        demodulation_hz=None if demodulation_mhz is None else parse_demodulation(demodulation_mhz),
        radius_mm=radius_mm,
        line_angle_deg=line_angle_deg,
        first_depth_mm=first_depth_mm,
    )
    about = about_files(file_format, paths, options)
    found = kind_of_files(file_format, paths, options)
    if found == "rf" and demodulation_mhz is not None:
        raise OptionError(
            f"--demodulation-mhz: got {demodulation_mhz}, expected none of RF: if the samples are IQ, --kind iq, "
            "iq-pairs or iq-lines"
        )
    if kind == "rf" and kind_of_files(file_format, paths, replace(options, kind=None)) == "iq":
        notes.append("--kind rf: taken, the real part of complex samples, in which the carrier must still be")
    geometry = asked.over(about.geometry)
    kept = rows_of_files(file_format, paths, options) if geometry.line_angle_deg is not None else 0
    try:
        scan = geometry.of_rows(kept, options.rows.start if options.rows else 0).scan(found)
    except OptionError as error:
        raise OptionError("; ".join((str(error), *about.notes))) from error
    frames = read_frames(file_format, paths, scan, options)
    signal = check_frames((frame.samples for frame in frames), scan)
    if signal.kind == "iq":
        signal = check_axes((frame.samples for frame in frames), scan)
    if signal.kind == "blank":
        typer.echo(f"usert: {paths[0]}: the frames are blank, or too short to judge their signal", err=True)
    line = signal.line.replace("--transpose", "leave --transpose out") if transpose else signal.line
    if signal.refused and not unchecked:
        raise FormatError(f"{paths[0]}: {line}; --unchecked imports it all the same")
    moved = check_motion((frame.samples for frame in frames), scan) if signal.kind == "iq" else ""
    for told in filter(None, (line, moved)):
        typer.echo(f"usert: {paths[0]}: {told}", err=True)
    count = write_recording(out, frames)
    with Recording(out) as recording:
        rows_kept, lines = recording.shape
        typer.echo(f"{out}: {count} frame{'s' * (count > 1)} of {rows_kept} x {lines} {recording.dtype}")
        typer.echo(
            f"fs {scan.fs_hz / 1e6:.6g} MHz, f0 {scan.f0_hz / 1e6:.6g} MHz, "
            f"line pitch {scan.line_pitch_mm:.6g} mm{describe_lines(recording)}, "
            f"sound speed {scan.sound_speed_m_s:g} m/s"
            + ("" if scan.demodulation_hz is None else f", {describe_demodulation(scan)}")
        )
        if clock := describe_clock(recording.acquired_ns):
            typer.echo(f"usert: {paths[0]}: {clock}", err=True)
    if frames.scale != 1:
        typer.echo(f"float64 samples of all frames multiplied by {frames.scale:.6g}, to a peak of 1")
    for note in (*notes, *about.notes, *asked.contradicting(about.geometry)):
        typer.echo(note)
    samples = rows_kept if scan.kind == "rf" else rf_rows(rows_kept, scan)
    if samples < STRAIN_WINDOW_SAMPLES:
        needed = math.ceil(STRAIN_WINDOW_SAMPLES * rows_kept / samples)
        typer.echo(
            f"{rows_kept} rows are too few for strain, which needs {needed}: import more rows,"
            f" or with --transpose where the file holds scan lines first"
        )
