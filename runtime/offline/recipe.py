"""The recipe of `usert run`: what it does with each recording.

Invariant: everything in it that changes the numbers is in the origin of a result.
"""

from __future__ import annotations

from dataclasses import dataclass

from usert.bundle import Bundle
from usert.errors import expect
from usert.frame import Scan
from usert.recording import Recording
from usert.strain import window_samples

from ..engines.interface import Engine
from .pairs import CONSECUTIVE
from .provenance import NETWORK, Origin, library_version, sha256_of_recording

DEFAULT = "default"
"""The name in an origin of the precision that suits the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings for all recordings of an archive."""

    method: str = NETWORK
    pairs: str = CONSECUTIVE
    """The pairs to estimate, in the form of `parse_pairs`."""
    precision: str | None = None
    strain_window_mm: float | None = None
    """Length of the strain window; None: that of the engine."""
    also: tuple[str, ...] = ()
    """Kinds of outputs to make (`usert.runtime.offline.outputs`)."""
    dicom_like: str | None = None
    overwrite: bool = False
    """Whether to replace a result of another origin."""

    def window(self, engine: Engine, scan: Scan, rows: int) -> int:
        """Length of the strain window in samples of frames of so many `rows`. Errors: `OptionError`."""
        if self.strain_window_mm is None:
            return engine.strain_window_at(scan)
        window = window_samples(scan, self.strain_window_mm)
        most = f"at most the {rows * scan.axial_pitch_mm:.3g} of a frame"
        expect(window <= rows, "--strain-window-mm", f"{self.strain_window_mm:g}", most)
        return window

    def origin(
        self, source: Recording, *, called: str, engine: Engine, engine_name: str, bundle: Bundle | None
    ) -> Origin:
        """The origin of the result of `source` by `engine`; `engine_name`: the engine's name for frames of that shape.

        Errors: `RecordingError`, `OptionError`.
        """
        of_bundle = {}
        if bundle is not None:
            weights = bundle.manifest.weights
            of_bundle = {
                "bundle": str(bundle.folder),
                "bundle_sha256": bundle.sha256,
                "weights_sha256": weights.sha256,
                "model_card": weights.model_card or "",
            }
        return Origin(
            recording=called,
            recording_sha256=sha256_of_recording(source.path),
            method=self.method,
            pairs=self.pairs,
            engine=engine_name,
            engine_version=library_version(engine_name),
            precision=self.precision or DEFAULT,
            strain_window_samples=self.window(engine, source.scan, source.shape[0]),
            strain_window_mm=self.strain_window_mm or 0.0,
            **of_bundle,
        )
