"""A bundle is checked before it takes over: whole files, finite answers, score and sign as of the running one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live import SHAPE, TIMEOUT_S
from swapping import Opener, refusal
from tiny_bundle import STRAIN, other_bundle, tiny_bundle

from usert.runtime.engines.interface import FrameFormat
from usert.runtime.imaging.estimate import EstimatedPair
from usert.runtime.imaging.live_or_held import HoldRule
from usert.runtime.server.bundle_swap import BundleSwap


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "no such folder"),
        (lambda folder: (folder / "strain.onnx").unlink(), "strain.onnx is missing"),
        (lambda folder: cut(folder / "weights.safetensors"), "weights.safetensors is damaged"),
        (lambda folder: cut(folder / "strain.onnx"), "strain.onnx is damaged"),
        (lambda folder: flip(folder / "weights.safetensors"), "weights.safetensors is damaged"),
        (lambda folder: cut(folder / "manifest.json"), "manifest.json: not valid JSON"),
    ],
)
def test_a_damaged_or_half_copied_bundle_is_not_opened(
    change: BundleSwap, opener: Opener, tmp_path: Path, break_it: object, said: str
) -> None:
    assert callable(break_it)
    folder = tiny_bundle(tmp_path / "copy").folder
    break_it(folder)
    line = refusal(change, change.start(folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None))
    assert line.startswith(f"bundle {folder}: {said}")
    assert opener.opened == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[-1] ^= 1
    path.write_bytes(held)


def test_a_bundle_replaced_while_it_opens_is_refused(
    change: BundleSwap, opener: Opener, trial: EstimatedPair, tmp_path: Path
) -> None:
    folder = tiny_bundle(tmp_path / "copy").folder
    opener.gate.clear()
    future = change.start(folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=trial)
    assert opener.entered.wait(TIMEOUT_S)
    other_bundle(folder, strain=0.0625)
    opener.gate.set()
    assert "weights.safetensors is damaged" in refusal(change, future)
    assert opener.closed == [True]


@pytest.mark.parametrize("name", ["strain", "quality", "slope"])
def test_an_answer_that_is_not_finite_is_refused(
    change: BundleSwap, opener: Opener, trial: EstimatedPair, tmp_path: Path, name: str
) -> None:
    folder = other_bundle(tmp_path / "nan", **{name: np.nan}).folder
    wrong = {"slope": "displacement"}.get(name, name)
    for tried in (trial, None):
        line = refusal(change, change.start(folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=tried))
        assert line.startswith(f"bundle {folder}: refused: {wrong}: got ")
        assert "values that are NaN or infinite, expected none; keep the running one" in line
    assert opener.closed == [True, True]


def test_a_graph_of_another_contract_is_refused(
    change: BundleSwap, opener: Opener, trial: EstimatedPair, tmp_path: Path
) -> None:
    folder = tiny_bundle(tmp_path / "other", strain="stress").folder
    line = refusal(change, change.start(folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=trial))
    assert line.startswith(f"bundle {folder}: onnxruntime")
    assert "got displacement tensor(float), stress tensor(float)" in line
    assert opener.closed == [True]


def test_a_score_that_would_hold_the_image_is_refused_with_both_figures(
    change: BundleSwap, opener: Opener, trial: EstimatedPair, tmp_path: Path
) -> None:
    folder = other_bundle(tmp_path / "poor", quality=0.25).folder
    line = refusal(change, change.start(folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=trial))
    assert line == (
        f"bundle {folder}: refused: frame score: got 0.00 where the running one has 0.75, expected 0.4 or more; "
        "keep the running one, or fine-tune and export again"
    )
    assert opener.closed == [True]


def test_where_the_running_engine_is_no_better_the_score_says_nothing(
    change: BundleSwap, opener: Opener, trial: EstimatedPair, tmp_path: Path
) -> None:
    poor = other_bundle(tmp_path / "poor", quality=0.25).folder
    blind = replace(trial, estimate=replace(trial.estimate, quality=np.full(SHAPE, 0.1, np.float32)))
    assert (
        change.start(poor, opener=opener, frames=[FrameFormat(SHAPE)], trial=blind).result(TIMEOUT_S).check
        is not None
    )


def test_the_rules_are_those_of_the_server(opener: Opener, trial: EstimatedPair, tmp_path: Path) -> None:
    folder = other_bundle(tmp_path / "poor", quality=0.25).folder
    change = BundleSwap(hold=HoldRule(held_score=0.0))
    assert (
        change.start(folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=trial).result(TIMEOUT_S).check
        is not None
    )
    change.close(TIMEOUT_S)


def test_a_sign_turned_round_is_refused_with_both_figures(
    change: BundleSwap, opener: Opener, trial: EstimatedPair, tmp_path: Path
) -> None:
    folder = other_bundle(tmp_path / "turned", strain=-STRAIN).folder
    line = refusal(change, change.start(folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=trial))
    assert (
        "refused: mean strain: got -3.12 % where the running one has +3.12 %, expected the same sign" in line
    )
    assert opener.closed == [True]


def test_where_one_of_the_two_sees_no_motion_the_sign_says_nothing(
    change: BundleSwap, opener: Opener, trial: EstimatedPair, tmp_path: Path
) -> None:
    still = other_bundle(tmp_path / "still", strain=-STRAIN, slope=0.0).folder
    check = (
        change.start(still, opener=opener, frames=[FrameFormat(SHAPE)], trial=trial).result(TIMEOUT_S).check
    )
    assert check is not None
    assert check.mean_strain == -STRAIN
