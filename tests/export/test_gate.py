"""The gate measures what it says, and lets nothing through that is no number."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from usert.bundle.manifest import PRECISIONS
from usert.errors import BundleError
from usert.export.gate import (
    DEEPEST,
    PAIRS,
    READABLE,
    Accuracy,
    Frame,
    FramePair,
    Outputs,
    by_torch,
    compare,
    judge,
    scanner_for,
    tolerances,
    worst,
)
from usert.export.graph import StrainGraph
from usert.network.liteflownet import LiteFlowNet

SHAPE = (96, 64)
PERFECT = Accuracy(**dict.fromkeys(Accuracy.__dataclass_fields__, 0.0))


@pytest.fixture(scope="module")
def graph() -> StrainGraph:
    torch.manual_seed(0)
    return StrainGraph(LiteFlowNet(finest=4), strain_window=33).eval()


def answers(graph: StrainGraph, pair: FramePair) -> Outputs:
    return [part.copy() for part in by_torch(graph, pair)]


def test_torch_differs_from_itself_by_nothing(graph: StrainGraph) -> None:
    accuracy = compare(graph, lambda pair: answers(graph, pair), SHAPE)
    assert all(getattr(accuracy, figure) == 0.0 for figure in tolerances("float32"))
    assert accuracy.truth_rmse_samples > 0
    judge(accuracy, "torch")


@pytest.mark.parametrize("rows", [DEEPEST, 4 * DEEPEST])
def test_the_end_of_a_long_frame_moves_no_further(rows: int) -> None:
    scanner = scanner_for((rows, 32))
    most = max(np.abs(scanner.truth(i, j)[0]).max() for i, j in PAIRS)
    assert most == pytest.approx(20, rel=0.1)


def test_what_is_added_is_what_is_found(graph: StrainGraph) -> None:
    def shifted(pair: FramePair) -> Outputs:
        displacement, strain, quality = answers(graph, pair)
        displacement[1] += 0.02  # half of the values
        return displacement, strain + 0.001, np.maximum(quality - 0.01, -1)

    accuracy = compare(graph, shifted, SHAPE)
    assert accuracy.max_abs_displacement_samples == pytest.approx(0.02, abs=1e-6)
    assert accuracy.rms_displacement_samples == pytest.approx(0.02 / math.sqrt(2), rel=1e-3)
    assert accuracy.max_abs_strain == pytest.approx(0.001, rel=1e-3)
    assert accuracy.rms_strain_percent == pytest.approx(0.1, rel=1e-3)
    assert accuracy.max_abs_quality == pytest.approx(0.01, abs=1e-6)
    assert accuracy.snre_difference > 0


def test_recorded_pairs_are_compared_where_they_may_be_read(graph: StrainGraph) -> None:
    frame = np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16)
    seen: list[Frame] = []

    def spoilt(pair: FramePair) -> Outputs:
        displacement, strain, quality = answers(graph, pair)
        if pair.reference is frame:
            seen.append(pair.reference)
            displacement = displacement + np.where(quality > 0.5, 0.5, 0)
        return displacement, strain, quality

    accuracy = compare(graph, spoilt, SHAPE, [FramePair(frame, frame)])
    assert len(seen) == 1
    assert accuracy.max_abs_displacement_samples == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("output", range(3))
def test_what_is_no_number_is_found_where_nothing_may_be_read_too(graph: StrainGraph, output: int) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(-900, 900, SHAPE).astype(np.int16) for _ in range(2))

    def spoilt(pair: FramePair) -> Outputs:
        found = answers(graph, pair)
        unread = (found[2] > 0) & (found[2] < READABLE)
        if pair.reference is first:
            found[output][..., unread] = np.nan
        return found

    accuracy = compare(graph, spoilt, SHAPE, [FramePair(first, second)])
    with pytest.raises(BundleError, match=r"^g: .*\bnan\b"):
        judge(accuracy, "g")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("figure", list(tolerances("float32")))
def test_each_figure_has_its_limit_and_none_may_be_nan(figure: str, precision: str) -> None:
    limit = tolerances(precision)[figure]
    judge(replace(PERFECT, **{figure: limit}), "g", precision)
    for value in (2 * limit, math.nan):
        spoilt = replace(PERFECT, **{figure: value})
        with pytest.raises(BundleError, match=f"^g: .*{figure}: .*{precision}"):
            judge(worst([PERFECT, spoilt]), "g", precision)


def test_less_precision_is_allowed_more_and_the_truth_has_no_limit() -> None:
    limits = tolerances("float32")
    assert limits
    for figure, limit in limits.items():
        assert limit <= tolerances("float16")[figure] <= tolerances("int8")[figure]
    judge(replace(PERFECT, truth_rmse_samples=9.0), "g")
