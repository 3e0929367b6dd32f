"""`usert info`: what a recording or a bundle is, on one card.

Knows how to print only. Invariant: reads one frame of a recording, or of IQ some until two of them moved, so it answers
at once for any size.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from usert.frame import Scan
    from usert.recording import Recording


def info(path: Path = typer.Argument(..., help="A recording, the folder of a bundle, or small.")) -> None:
    """Describe a recording or a bundle."""
    from usert.bundle import Bundle, bundle_card, packaged_bundles

    if path.is_dir() or (str(path) in packaged_bundles() and not path.exists()):
        typer.echo(bundle_card(Bundle.load(path)))
        return
    from usert.recording import Recording

    with Recording(path) as recording:
        typer.echo(recording_card(recording))


def recording_card(recording: Recording) -> str:
    """A description of a recording in a few lines: frames, size, time, geometry, truth."""
    from usert.beam_space import BeamSpace

    (rows, lines), scan = recording.shape, recording.scan
    width_mm = BeamSpace.of(scan, recording.shape).extent_mm[1]
    truth = "none"
    if recording.has_truth:
        truth = f"displacement between neighbouring frames, {max(len(recording) - 1, 0)} pairs"
    lines_of_card = {
        "recording": str(recording.path),
        "frames": f"{len(recording)} of {rows} samples x {lines} lines, {recording.dtype}",
        "size": f"{rows * scan.axial_pitch_mm:.1f} mm deep, {width_mm:.1f} mm wide",
        "time": _time(recording),
        "sampling": f"{scan.fs_hz / 1e6:g} MHz, {scan.axial_pitch_mm:.5f} mm a sample",
        "pulse": f"{scan.f0_hz / 1e6:g} MHz at {scan.sound_speed_m_s:g} m/s",
        "kind": "RF" if scan.demodulation_hz is None else f"IQ, {describe_demodulation(scan)}",
        "line pitch": f"{scan.line_pitch_mm:.6g} mm{describe_lines(recording)}",
        "signal": _signal(recording),
        "truth": truth,
    }
    return "\n".join(f"{name:<12}{text}" for name, text in lines_of_card.items())


def describe_lines(recording: Recording) -> str:
    """How the lines of a curved or phased array lie, and how deep the first row, each with a comma before it."""
    scan, lines = recording.scan, recording.shape[1]
    words = ""
    if scan.radius_mm is not None and scan.line_angle_deg is not None:
        array = f"curved array of radius {scan.radius_mm:g} mm" if scan.radius_mm else "phased array"
        whole_deg = (lines - 1) * scan.line_angle_deg
        words += f" half-way down, {array}, {scan.line_angle_deg:.6g}° between lines, {whole_deg:.4g}° in all"
    return words + (f", first row {scan.first_depth_mm:.2f} mm deep" if scan.first_depth_mm else "")


def describe_demodulation(scan: Scan) -> str:
    """A few words on the demodulation frequency of IQ, by depth where it changes."""
    told = scan.demodulation_hz
    if not isinstance(told, tuple):
        return f"demodulated at {(told or 0) / 1e6:g} MHz"
    steps = [f"{hz / 1e6:g} at row {row:g}" for row, hz in told]
    return f"demodulated at MHz {', '.join(steps[:4])}{', …' * (len(steps) > 4)}"


def _signal(recording: Recording) -> str:
    from usert.signal_check import check_axes, check_signal

    if not len(recording):
        return "none"
    scan = recording.scan
    signal = check_signal(recording.frame(0).samples, scan)
    if signal.kind == "iq":
        frames = (recording.frame(number).samples for number in range(len(recording)))
        axes = check_axes(frames, scan)
        signal = axes if axes.refused else signal
    if signal.kind in ("rf", "iq") and not signal.line:
        return f"{signal.kind.upper()}, {100 * signal.share:.0f} % of the first frame's energy near f0"
    return signal.line or "unknown: the first frame is blank, or too short"


def _time(recording: Recording) -> str:
    from datetime import UTC, datetime

    from usert.units import CLOCK_NS

    times = recording.acquired_ns
    if not len(times) or not times.any():
        return "unknown"
    start = datetime.fromtimestamp(int(times[0]) / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if times[0] < CLOCK_NS:
        start = "an unknown date"
    seconds = int(times[-1] - times[0]) / 1e9
    if seconds <= 0:
        return f"from {start}"
    return describe_clock(times) or (
        f"{seconds:.3g} s from {start}, {(len(times) - 1) / seconds:.3g} frames a second"
    )


def describe_clock(times_ns: NDArray[np.int64]) -> str:
    """What is wrong with the times of the frames, (F,): another unit, or whole seconds only; empty where nothing is."""
    import numpy as np

    from usert.units import clock_unit

    steps = np.diff(times_ns)
    if not (steps > 0).any():
        return ""
    interval = float(np.median(steps[steps > 0]))
    if unit := clock_unit(interval):
        return f"acquired_ns grows by {interval:g} a frame: looks like {unit}, expected nanoseconds"
    if (steps == 0).any() and not (times_ns % 1_000_000_000).any():
        return "the frames' times are whole seconds, and the same for several frames: no rate can be told by them"
    return ""
