"""The true motion over several frames, against the scanner that knows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from usert.evaluation.truth import true_motion
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import Recording, write_recording

FRAMES = 14


@pytest.fixture(scope="module")
def scanner() -> SimulatedScanner:
    return SimulatedScanner(ScannerConfig(shape=(256, 48), peak_strain=0.03), seed=2)


@pytest.fixture(scope="module")
def recorded(scanner: SimulatedScanner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("truth") / "sim.h5"
    truths = (scanner.truth(k, k + 1) for k in range(FRAMES - 1))
    write_recording(path, (scanner.frame(k) for k in range(FRAMES)), truths)
    return path


def test_from_a_frame_to_the_next_it_is_what_is_on_file(scanner: SimulatedScanner, recorded: Path) -> None:
    with Recording(recorded) as recording:
        np.testing.assert_array_equal(true_motion(recording, 5, 6), scanner.truth(5, 6))


@pytest.mark.parametrize(("reference", "current"), [(0, 2), (0, 13), (6, 12)])
def test_over_several_frames_it_is_the_whole_motion(
    scanner: SimulatedScanner, recorded: Path, reference: int, current: int
) -> None:
    with Recording(recorded) as recording:
        found = true_motion(recording, reference, current)
    assert found is not None
    expected = scanner.truth(reference, current)
    inside = (slice(None), slice(32, -32), slice(4, -4))
    found, expected = found[inside], expected[inside]
    motion = np.abs(expected).max(axis=(1, 2))
    assert motion[0] > 0.1  # something moves
    error = found - expected
    assert (
        np.sqrt((error**2).mean(axis=(1, 2))) < 3e-3
    ).all()  # of the smallest error that was measured, a seventh
    assert (np.abs(error).max(axis=(1, 2)) < 0.01 * motion).all()  # at the lesion's edge, where strain jumps


def test_there_is_none_backwards_nor_without_truth(
    recorded: Path, tmp_path: Path, make_frame: Callable[..., RFFrame]
) -> None:
    bare = tmp_path / "bare.h5"
    write_recording(bare, [make_frame(0), make_frame(1)])
    with Recording(recorded) as recording, Recording(bare) as other:
        assert true_motion(recording, 6, 5) is None
        assert true_motion(other, 0, 1) is None
