"""What `usert` promises of an engine, as tests: derive a class of your own and override its fixture `engine`.

    from usert.testing import AccurateEngineContract

    class TestMine(AccurateEngineContract):
        @pytest.fixture
        def engine(self):
            with closing(MyEngine(Bundle.load(default_bundle_path()))) as engine:
                yield engine

`usert/runtime/engines/interface.py` has the interface. Knows no library that an engine runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from usert.errors import FrameError
from usert.frame import Scan, Shape
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import rmse
from usert.runtime.engines.interface import TYPICAL_SCAN, Engine, noise_pair
from usert.strain import axial_strain

Frame: TypeAlias = NDArray[Any]
_IQ = Scan(fs_hz=10e6, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.12, demodulation_hz=6.5e6)
_MARGIN = 32, 4
"""Rows and lines at the edges that are left out where accuracy is measured."""


def _spoilt(frame: Frame) -> Frame:
    frame = frame.astype(np.float32)
    frame[3, 4] = np.nan
    return frame


_BAD: dict[str, Callable[[Frame, Frame], tuple[Frame, Frame]]] = {
    "NaN in the reference": lambda a, b: (_spoilt(a), b),
    "NaN in the current frame": lambda a, b: (a, _spoilt(b)),
    "shapes that differ": lambda a, b: (a, b[:-1]),
    "all samples the same": lambda a, b: (a, np.zeros_like(b)),
    "shorter than the strain window": lambda a, b: (a[:8], b[:8]),
    "one line without its axis": lambda a, b: (a[:, 0], b[:, 0]),
}


class EngineContract:
    """Tests of every engine: shapes, types, ownership of arrays, and the frames that it must refuse."""

    shape: Shape = (256, 48)
    """(N, M) of the frames; the length must not be less than the engine's strain window."""
    iq_shape: Shape = (128, 48)
    """(N, M) of the frames of IQ, sampled at 10 MHz."""
    scan: Scan = TYPICAL_SCAN

    @pytest.fixture
    def engine(self) -> Engine:
        """The engine under test, open; to be overridden, and closed there."""
        raise NotImplementedError("override the fixture `engine`")

    @pytest.fixture
    def engine_to_close(self, engine: Engine) -> Engine:
        """The engine that is closed by a test; to be overridden where `engine` is one for several tests."""
        return engine

    def frames(self, shape: Shape | None = None) -> tuple[Frame, Frame]:
        """Two frames of noise, int16, which cannot be written."""
        reference, current, _ = noise_pair(shape or self.shape, self.scan)
        for frame in (reference, current):
            frame.flags.writeable = False
        return reference, current

    def test_it_names_library_and_device(self, engine: Engine) -> None:
        """The name is a word or some, in one line."""
        assert engine.name.strip()
        assert engine.name.isprintable()

    def test_the_strain_window_fits_the_frames(self, engine: Engine) -> None:
        """The window is a number of rows, 1 or more, and fits the frames of this class."""
        window = engine.strain_window_at(self.scan)
        assert isinstance(window, int)
        assert 1 <= window <= self.shape[0]

    def test_results_lie_on_the_grid_of_the_frames(self, engine: Engine) -> None:
        """Shapes and types are those of `Estimate`, values are finite, and quality is 0 to 1, for any shape."""
        rows, lines = self.shape
        for shape in (self.shape, (rows + 7, lines - 3), self.shape):
            estimate = engine.run(*self.frames(shape), self.scan)
            assert estimate.fault(shape) == ""
            for values in (estimate.displacement, estimate.strain, estimate.quality):
                assert values.dtype == np.float32
            assert estimate.quality.min() >= 0
            assert estimate.quality.max() <= 1

    def test_estimates_are_never_written_again(self, engine: Engine) -> None:
        """Arrays that were returned belong to the caller."""
        reference, current = self.frames()
        first = engine.run(reference, current, self.scan)
        kept = [values.copy() for values in (first.displacement, first.strain, first.quality)]
        engine.run(current, reference, self.scan)
        for values, before in zip((first.displacement, first.strain, first.quality), kept, strict=True):
            np.testing.assert_array_equal(values, before)

    def test_a_pair_gives_the_same_again(self, engine: Engine) -> None:
        """No state goes from one pair to the next."""
        reference, current = self.frames()
        first = engine.run(reference, current, self.scan)
        displacement, strain = first.displacement.copy(), first.strain.copy()
        engine.run(current, reference, self.scan)
        again = engine.run(reference, current, self.scan)
        np.testing.assert_allclose(again.displacement, displacement, atol=1e-3)
        np.testing.assert_allclose(again.strain, strain, atol=1e-4)

    def test_bytes_in_other_order_and_views_give_the_same(self, engine: Engine) -> None:
        """Frames may lie in memory in any way."""
        reference, current = self.frames()
        plain = engine.run(reference, current, self.scan).displacement.copy()
        odd = engine.run(np.asfortranarray(reference).astype(">i2"), np.asfortranarray(current), self.scan)
        np.testing.assert_allclose(odd.displacement, plain, atol=1e-3)

    def test_float_frames_are_taken(self, engine: Engine) -> None:
        """Samples of type float32 and any amplitude are as good as int16."""
        reference, current = (frame.astype(np.float32) * 1e-6 for frame in self.frames())
        assert engine.run(reference, current, self.scan).fault(self.shape) == ""

    def test_iq_frames_are_taken(self, engine: Engine) -> None:
        """IQ (N, M, 2) gives results on its own rows."""
        reference, current, scan = noise_pair(self.iq_shape, _IQ)
        assert engine.run(reference, current, scan).fault(self.iq_shape) == ""

    @pytest.mark.parametrize("name", _BAD)
    def test_bad_frames_are_refused_in_one_line(self, engine: Engine, name: str) -> None:
        """A frame that cannot be is a `FrameError`, and the next pair is as if it had not been."""
        reference, current = self.frames()
        with pytest.raises(FrameError) as caught:
            engine.run(*_BAD[name](reference, current), self.scan)
        assert str(caught.value).isprintable()
        assert engine.run(reference, current, self.scan).fault(self.shape) == ""

    def test_it_warms_up(self, engine: Engine) -> None:
        """`warm_up` takes the shape alone, or with a scan."""
        engine.warm_up(self.shape)
        engine.warm_up(self.shape, self.scan)

    def test_it_closes_twice(self, engine_to_close: Engine) -> None:
        """`close` may be called again."""
        engine_to_close.close()
        engine_to_close.close()


class AccurateEngineContract(EngineContract):
    """Tests of an engine that estimates motion, beside the truth of a simulated press of 1 % strain."""

    most_axial_rmse_samples: float = 0.1
    most_strain_rmse: float = 0.004

    def pair(self) -> tuple[SimulatedScanner, Frame, Frame]:
        """A simulated scanner, its frame at rest, and that of the press."""
        config = ScannerConfig(shape=self.shape, scan=self.scan, peak_strain=0.01, period_frames=4, tilt=0.02)
        scanner = SimulatedScanner(config, seed=5)
        return scanner, scanner.frame(0).samples, scanner.frame(2).samples

    def test_displacement_and_strain_are_near_the_truth(self, engine: Engine) -> None:
        """Axial displacement is positive away from the probe, compression is positive, and quality is high."""
        scanner, reference, current = self.pair()
        estimate = engine.run(reference, current, self.scan)
        inside = (slice(_MARGIN[0], -_MARGIN[0]), slice(_MARGIN[1], -_MARGIN[1]))
        truth = scanner.truth(0, 2)[0]
        strain = axial_strain(truth, engine.strain_window_at(self.scan))
        assert rmse(estimate.displacement[0][inside], truth[inside]) < self.most_axial_rmse_samples
        assert rmse(estimate.strain[inside], strain[inside]) < self.most_strain_rmse
        assert np.median(estimate.quality) > 0.9

    def test_a_pair_in_reverse_has_the_other_sign(self, engine: Engine) -> None:
        """What was compressed is released."""
        _, reference, current = self.pair()
        pressed = engine.run(reference, current, self.scan).strain.mean()
        released = engine.run(current, reference, self.scan).strain.mean()
        assert pressed > 0 > released
        np.testing.assert_allclose(released, -pressed, rtol=0.2)
