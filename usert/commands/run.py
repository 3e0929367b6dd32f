"""`usert run`: strain of a recording's pairs, or of all recordings beneath a folder, into files and pictures."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.engine import AT_ONCE_HELP, BUNDLE, ENGINE, PRECISION
from usert.commands.option import option, switch


def run(
    recording: Path = typer.Argument(
        ..., metavar="REC.h5|FOLDER", help="Recording of RF or IQ frames, or a folder: every *.h5 beneath it."
    ),
    out: Path = option(
        ...,
        "OUT.h5|FOLDER",
        "File to write, replaced when all pairs are done; for a folder, the folder of results.",
    ),
    pairs: str = option(
        "consecutive", "consecutive|I:J,…", "Pairs of frames, reference first, counted from 0."
    ),
    method: str = option(
        "usert",
        "usert|ncc|glue|glue-smooth",
        "The bundle's network, or block matching or GLUE to compare with.",
    ),
    bundle: Path | None = BUNDLE,
    figure: Path | None = option(
        None,
        "PNG",
        "Picture of the first pair; each further pair that --pairs lists gets its own, NAME-I-J.png.",
    ),
    fan: str | None = option(
        None,
        "RADIUS:DEGREES",
        "How lines lie in --figure, where the recording does not say: radius of the array in mm (0: phased),"
        " angle from first to last.",
    ),
    also: list[str] = option(
        [],
        "png|mp4|dicom",
        "All pairs beside OUT.h5 as a folder of PNGs, a video, or a DICOM object; may be repeated.",
    ),
    dicom_like: Path | None = option(
        None, "FILE.dcm", "Patient and study of the DICOM object are those of this file; empty without it."
    ),
    strain_window_mm: float | None = option(
        None, "X", "Length of the strain's least-squares window, instead of the bundle's own."
    ),
    engine: str = ENGINE,
    precision: str | None = PRECISION,
    threads: int | None = option(None, "N", "Threads of the engine; all cores by default, over Ray one."),
    at_once: int | None = option(None, "N", AT_ONCE_HELP),
    overwrite: bool = switch("--overwrite", "With a folder: replace the results of earlier runs."),
    ray: str | None = option(
        None,
        "local|ADDRESS",
        "With a folder: run over Ray, on this machine or the cluster at ADDRESS; auto finds it.",
    ),
    workers: int | None = option(
        None, "N", "Workers over Ray, each with an engine of its own; 2 by default."
    ),
) -> None:
    """Estimate displacement, strain and quality of a recording's pairs, or of all recordings beneath a folder.

    Writes /pairs, /displacement, /strain and /quality; ends with a line a pair: mean strain, median quality,
    milliseconds of the engine. Pairs with a blank, constant or not finite frame are left out and named. Ctrl-C stops
    after the pairs in work and writes nothing. Of a folder: a result and a line each, under the same names; results
    that are there are kept, so the same command goes on where it was stopped.
    """
    from functools import partial

    from usert.commands.fan_option import parse_fan
    from usert.commands.method import open_method, require_method
    from usert.commands.run_archive import run_archive, run_on_ray
    from usert.commands.run_one import One
    from usert.errors import OptionError
    from usert.runtime.offline.outputs import require_kinds
    from usert.runtime.offline.recipe import Recipe

    require_method(
        method, bundle=bundle, engine=engine, threads=threads, precision=precision, at_once=at_once
    )
    require_kinds(also, dicom_like=dicom_like)
    recipe = Recipe(
        method=method,
        pairs=pairs.strip(),
        precision=precision,
        strain_window_mm=strain_window_mm,
        also=tuple(dict.fromkeys(also)),
        dicom_like=None if dicom_like is None else str(dicom_like.absolute()),
        overwrite=overwrite,
    )
    if not recording.is_dir():
        options = (("--overwrite", overwrite), ("--ray", ray is not None), ("--workers", workers is not None))
        for option, given in options:
            if given:
                raise OptionError(f"{option}: got {recording}, which is no folder: leave the option out")
        lines = None if fan is None else parse_fan(fan)
        if lines is not None and figure is None:
            raise OptionError(f"--fan: got {fan} without --figure: add it, or leave this out")
        opener = partial(open_method, method, bundle, engine, threads, precision, at_once)
        One(recording, out, recipe, opener).run(figure, lines)
        return
    if figure is not None:
        raise OptionError(f"--figure: got {figure} with a folder, expected --also png")
    if fan is not None:
        raise OptionError(f"--fan: got {fan} with a folder, expected one recording and --figure")
    if ray is None and workers is not None:
        raise OptionError(f"--workers: got {workers} without --ray: add it, or leave it out")
    place = None if bundle is None else bundle.absolute()
    if ray is None:
        opener = partial(open_method, method, place, engine, threads, precision, at_once)
        run_archive(recording, out, recipe, opener)
    else:
        cpus = 1 if threads is None else threads
        opener = partial(open_method, method, place, engine, cpus, precision, at_once)
        run_on_ray(
            recording, out, recipe, opener, ray, workers=2 if workers is None else workers, threads=cpus
        )
