"""`usert simulate`: the simulated scanner into a recording, with the truth beside the frames.

Knows the options only; the phantom lives in `usert.phantom`. Invariant: the recording is there whole or not at all.
"""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.interrupt import stoppable
from usert.commands.option import option, switch


def simulate(
    out: Path = option(..., "REC.h5", "Recording to write: a new file."),
    frames: int = option(40, "F", "Frames; the hand presses and releases once in 40."),
    shape: str = option("512x128", "NxM", "Axial samples and scan lines of a frame."),
    rate: float = option(20.0, "HZ", "Frames a second."),
    strain: float = option(3.0, "PERCENT", "Axial strain at the deepest press, 0 to 10."),
    modulus_ratio: float = option(3.0, "R", "Stiffness of the lesion over the rest."),
    noise: float = option(0.02, "R", "Rms electronic noise over rms echo."),
    seed: int = option(0, "K", "Another seed is another phantom."),
    kind: str = typer.Option("rf", help="rf, or iq: what the simulated scanner sends."),
    demodulation_mhz: float | None = option(None, "MHZ", "Of IQ: demodulation frequency; by default f0."),
    decimation: int = option(
        1, "K", "Of IQ: one sample of K; frames have N/K rows, at a K-th of the sampling frequency."
    ),
    radius_mm: float | None = option(
        None, "R", "Give the frames the geometry of a curved array of that radius, 0 of a phased one."
    ),
    line_angle_deg: float | None = option(
        None, "DEG", "Angle between its lines; by default lines are as far apart half-way down as else."
    ),
    first_depth_mm: float = option(0.0, "MM", "Depth of the first row."),
    fem: bool = switch("--fem", "A slab under a rigid probe, by finite elements."),
) -> None:
    """Write frames of a phantom with one lesion, pressed by hand, and the true motion between them.

    The same options give the same samples. Ctrl-C writes nothing.
    """
    import shutil
    import time
    from collections.abc import Iterator
    from dataclasses import replace
    from threading import Event

    from usert.beam_space import half_way_pitch_mm
    from usert.commands.progress import progress_bar
    from usert.commands.shape_option import parse_shape
    from usert.errors import OptionError, expect
    from usert.frame import RFFrame
    from usert.iq import as_iq, decimated_motion
    from usert.output_file import check_output_file, size_text
    from usert.phantom.fem import compress, slab_with_disc
    from usert.phantom.scanner import ScannerConfig, SimulatedScanner
    from usert.recording import write_recording
    from usert.signals import stop_on_signals

    expect(frames >= 2, "--frames", frames, "at least 2, for a pair")
    expect(seed >= 0, "--seed", seed, "0 or more")
    expect(0.01 <= rate <= 10_000, "--rate", f"{rate:g} Hz", "0.01 to 10000")
    expect(0 <= strain <= 10, "--strain", f"{strain:g} percent", "0 to 10")
    config = ScannerConfig(
        shape=parse_shape(shape),
        rate_hz=rate,
        peak_strain=strain / 100,
        modulus_ratio=modulus_ratio,
        noise=noise,
    )
    scan = config.scan
    if radius_mm is not None:
        to_pitch = half_way_pitch_mm(radius_mm, 1.0, first_depth_mm, config.shape[0] * scan.axial_pitch_mm)
        line_angle_deg = scan.line_pitch_mm / to_pitch if line_angle_deg is None else line_angle_deg
        scan = replace(scan, line_pitch_mm=line_angle_deg * to_pitch)
    scan = replace(scan, radius_mm=radius_mm, line_angle_deg=line_angle_deg, first_depth_mm=first_depth_mm)
    config = replace(config, scan=scan)
    expect(kind in ("rf", "iq"), "--kind", f"{kind!r}", "rf or iq")
    if kind == "rf" and (demodulation_mhz is not None or decimation != 1):
        raise OptionError(
            "--demodulation-mhz, --decimation: expected neither of RF; with --kind iq they count"
        )
    expect(1 <= decimation <= config.shape[0], "--decimation", decimation, f"1 to {config.shape[0]}")
    demodulation_hz = config.scan.f0_hz if demodulation_mhz is None else 1e6 * demodulation_mhz
    check_output_file(out, option="--out", new=True)
    needed = frames * config.shape[0] // decimation * config.shape[1] * (10 if kind == "rf" else 12)
    free = shutil.disk_usage(out.absolute().parent).free
    held = f"at most the {size_text(free)} that are free: fewer, or another disk"
    expect(needed <= free, "--frames", f"{frames}, which take {size_text(needed)}", held)
    scanner, stop = SimulatedScanner(config, seed), Event()
    progress = progress_bar("simulate")
    start_ns = time.time_ns()

    def images() -> Iterator[RFFrame]:
        for k in range(frames):
            if stop.is_set():
                raise KeyboardInterrupt
            frame = scanner.frame(k)
            if kind == "iq":
                frame = as_iq(frame, demodulation_hz, decimation)
            yield replace(frame, acquired_ns=start_ns + frame.time_ns)
            progress.update(task, completed=k + 1)

    with stoppable(f", {out} not written"), stop_on_signals(stop.set), progress:
        task = progress.add_task("simulate", total=frames)
        if fem:
            solved = compress(slab_with_disc(scanner.lesion, scanner.size_mm))
            scanner = SimulatedScanner(replace(config, unit_field=solved), seed)
        motions = (decimated_motion(scanner.truth(k, k + 1), decimation) for k in range(frames - 1))
        write_recording(out, images(), motions)
    rows, lines = -(-config.shape[0] // decimation), config.shape[1]
    iq = f" of IQ, demodulated at {demodulation_hz / 1e6:g} MHz," if kind == "iq" else ""
    typer.echo(
        f"{out}: {frames} frames of {rows} x {lines}{iq} at {rate:g} Hz, strain up to {strain:g} %,"
        f" true strain ratio of the lesion {scanner.strain_ratio:.3f}"
    )
