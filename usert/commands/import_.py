"""`usert import`: files of other makers into one recording.

Knows the options only; the formats live in `usert.formats`. Invariant: the recording is there whole or not at
all.
"""

from __future__ import annotations

from pathlib import Path

import typer


def import_frames(
    files: list[Path] = typer.Argument(..., help="Files in the order of their frames."),
    file_format: str = typer.Option(..., "--format", help="alpinion, mat, metaimage or raw."),
    out: Path = typer.Option(..., "--out", help="The recording to write (HDF5)."),
    fs_mhz: float = typer.Option(..., "--fs-mhz", help="Sampling frequency along depth."),
    f0_mhz: float = typer.Option(..., "--f0-mhz", help="Centre frequency of the pulse."),
    line_pitch_mm: float = typer.Option(..., "--line-pitch-mm", help="Distance of neighbouring scan lines."),
    sound_speed: float = typer.Option(1540.0, "--sound-speed", help="Speed of sound in m/s."),
    rows: str | None = typer.Option(None, "--rows", help="Axial samples to keep, a:b with b left out."),
    variable: str | None = typer.Option(None, "--variable", help="mat: name of the array."),
    shape: str | None = typer.Option(
        None, "--shape", metavar="NxM", help="raw: samples x lines of one frame."
    ),
    sample_type: str = typer.Option("float32", "--sample-type", help="raw: float32 or int16, little-endian."),
    transpose: bool = typer.Option(False, "--transpose", help="The files hold scan lines first."),
) -> None:
    """Turn frames of a scanner or a simulation into a recording."""
    from usert.commands.shape import parse_shape
    from usert.errors import OptionError
    from usert.formats import ImportOptions, Rows, read_frames
    from usert.frame import Scan
    from usert.recording import Recording
    from usert.recording_writer import write_recording

    options = ImportOptions(
        scan=Scan(
            fs_hz=fs_mhz * 1e6, f0_hz=f0_mhz * 1e6, sound_speed_m_s=sound_speed, line_pitch_mm=line_pitch_mm
        ),
        rows=None if rows is None else Rows.parse(rows),
        variable=variable,
        shape=None if shape is None else parse_shape(shape),
        sample_type=sample_type,
        transpose=transpose,
    )
    if out.resolve() in [file.resolve() for file in files]:
        raise OptionError(f"--out: got {out}, which is also read, expected another name")
    frames = read_frames(file_format, files, options)
    count = write_recording(out, frames)
    with Recording(out) as recording:
        rows_kept, lines = recording.shape
        typer.echo(f"{out}: {count} frames of {rows_kept} x {lines} {recording.dtype}")
    if frames.scale != 1:
        typer.echo(f"float64 samples of all frames multiplied by {frames.scale:.6g}, to a peak of 1")
