"""Real-time strain from live ultrasound.

`usert.estimate` turns two frames into displacement, strain and quality; all else is in the sub-packages. Importing this
loads neither torch nor onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from usert.runtime.imaging.estimate import Estimate

    from .frame import Scan

__all__ = ["__version__", "estimate"]


def estimate(
    reference: ArrayLike,
    current: ArrayLike,
    scan: Scan,
    *,
    bundle: str | os.PathLike[str] | None = None,
    engine: str = "best",
    threads: int | None = None,
    precision: str | None = None,
) -> Estimate:
    """Displacement, axial strain and quality between two beamformed frames, RF or IQ.

    The first call opens the engine, which takes about a second; it stays open for the calls after it, which wait for
    one another.

    Parameters
    ----------
    reference, current
        Samples before and after the motion, axial samples by scan lines, row 0 nearest the probe. RF: real, (N, M),
        integers or floats. IQ: (N, M) complex, or (N, M, 2) in-phase and quadrature.
    scan
        Sampling frequency, centre frequency, sound speed and line pitch of both frames, and of IQ the frequency by
        which it was demodulated.
    bundle
        Folder of a bundle made by `usert export`; None for the default one.
    engine
        `openvino`, `onnxruntime`, `tensorrt`, …; `best` is the fastest that works here.
    threads
        Threads of the engine; None for all cores.
    precision
        `float32`, `float16` or `int8`, of those in the bundle; None for what suits the engine.

    Returns
    -------
    Estimate
        `displacement` (2, N, M), axial in samples (positive away from the probe) and lateral in lines, with
        current(r + d(r)) ≈ reference(r); `strain` (N, M), a fraction, compression positive; `quality` (N, M), 0 to 1:
        where it is below `usert.quality.READABLE_QUALITY` the strain must not be read.

    Raises
    ------
    usert.errors.FrameError
        For frames of different or too small shape, samples that are constant, NaN or infinite, and complex ones without
        a demodulation frequency.
    usert.errors.UsertError
        For a bundle that is damaged, and an engine that is unknown, not installed or fails.

    Examples
    --------
    A simulated hand presses for five frames; a lesion three times as stiff lies in the middle.

    >>> import usert
    >>> from usert.phantom.scanner import ScannerConfig, SimulatedScanner
    >>> scanner = SimulatedScanner(ScannerConfig(shape=(512, 128)), seed=0)
    >>> before, after = scanner.frame(10), scanner.frame(14)
    >>> found = usert.estimate(before.samples, after.samples, before.scan)
    >>> found.displacement.shape, found.strain.shape, found.quality.shape
    ((2, 512, 128), (512, 128), (512, 128))
    >>> readable = found.quality >= 0.7
    >>> bool(0.002 < found.strain[readable].mean() < 0.02)
    True
    """
    from usert.runtime.engines.estimate import estimate as run

    return run(reference, current, scan, bundle=bundle, engine=engine, threads=threads, precision=precision)
