"""Which pairs and regions are chosen: known motion is found, and everything else is left out by name."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from usert.errors import RecipeError, RecordingError
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import write_recording
from usert.train.finetune.motion import measure_motion
from usert.train.finetune.selection import (
    SelectionConfig,
    select,
    spread,
)
from usert.train.finetune.selection_report import report, to_json

SHAPE = (384, 64)
CONFIG = SelectionConfig(lags=(1, 2), strain=(0.003, 0.05), crop=(128, 64), near_field_mm=0.5)


def scanner(seed: int = 0, strain: float = 0.03) -> SimulatedScanner:
    return SimulatedScanner(
        ScannerConfig(shape=SHAPE, peak_strain=strain, modulus_ratio=1.0, tilt=0.01, period_frames=12),
        seed=seed,
    )


def write(path: Path, frames: list[NDArray[Any]]) -> Path:
    scan = ScannerConfig().scan
    write_recording(
        path, [RFFrame(samples=samples, scan=scan, sequence=k) for k, samples in enumerate(frames)]
    )
    return path


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = scanner()
    return write(tmp_path_factory.mktemp("press") / "press.h5", [source.frame(k).samples for k in range(7)])


@pytest.mark.parametrize("strain", [0.005, 0.02, -0.02])
def test_uniform_strain_is_measured(strain: float) -> None:
    source = scanner(3, abs(strain))
    first, second = (source.frame(k).samples for k in ((0, 6) if strain > 0 else (6, 0)))
    motion = measure_motion(first, second, np.ones(SHAPE, bool), largest_strain=0.05)
    assert motion.strain == pytest.approx(strain, rel=0.1)
    assert motion.correlation > 0.9


def test_equal_frames_have_no_strain_and_noise_no_correlation() -> None:
    first = scanner().frame(0).samples
    motion = measure_motion(first, first, np.ones(SHAPE, bool), largest_strain=0.05)
    assert abs(motion.strain) < 1e-4
    assert motion.correlation > 0.99
    noise = np.random.default_rng(0).standard_normal((2, *SHAPE))
    assert measure_motion(*noise, np.ones(SHAPE, bool), largest_strain=0.05).correlation < 0.6
    nothing = measure_motion(first, np.zeros_like(first), np.ones(SHAPE, bool), largest_strain=0.05)
    assert math.isnan(nothing.strain)
    assert nothing.correlation == 0


def test_pairs_are_chosen_by_strain_at_several_lags(press: Path) -> None:
    selection = select([press], CONFIG)
    assert {pair.current - pair.reference for pair in selection.chosen} == {1, 2}
    assert all(0.003 <= abs(pair.strain) <= 0.05 for pair in selection.chosen)
    assert all(pair.correlation >= 0.8 for pair in selection.chosen)
    assert len(selection.chosen) + len(selection.rejected) == 6 + 5
    slow = [pair for pair in selection.rejected if pair.kind == "strain"]
    assert (0, 1) in {(pair.reference, pair.current) for pair in slow}  # the press begins from rest
    assert all("expected 0.30 to 5.00 %" in pair.reason for pair in slow)


def test_the_strain_of_the_press_is_that_of_the_scanner(press: Path) -> None:
    truth = {
        (i, j): 0.03 * (math.cos(2 * math.pi * i / 12) - math.cos(2 * math.pi * j / 12)) / 2
        for i in range(7)
        for j in range(7)
    }
    chosen = select([press], CONFIG).chosen
    assert chosen
    for pair in chosen:
        assert pair.strain == pytest.approx(truth[pair.reference, pair.current], rel=0.12)


def test_still_frames_and_noise_are_rejected_for_their_own_reasons(press: Path, tmp_path: Path) -> None:
    still = scanner().frame(0).samples
    rng = np.random.default_rng(1)
    noise = [(1000 * rng.standard_normal(SHAPE)).astype(np.int16) for _ in range(3)]
    paths = [write(tmp_path / "still.h5", [still] * 3), write(tmp_path / "noise.h5", noise), press]
    selection = select(paths, CONFIG)
    kinds = {path.name: {p.kind for p in selection.rejected if p.recording == path} for path in paths[:2]}
    assert kinds == {"still.h5": {"strain"}, "noise.h5": {"correlation"}}
    assert {pair.recording for pair in selection.chosen} == {press}
    text = report(selection)
    assert "still.h5: 0 pairs, 0 regions; left out for strain 3" in text
    assert "press.h5: " in text


def test_bad_recordings_are_named_and_stop_nothing(press: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"no recording")
    alone = write(tmp_path / "alone.h5", [scanner().frame(0).samples])
    small = write(tmp_path / "small.h5", [scanner().frame(k).samples[:, :40] for k in range(2)])
    flat = write(tmp_path / "flat.h5", [np.full(SHAPE, 7, np.int16)] * 2)
    told: list[Path] = []
    selection = select([broken, alone, small, flat, press], CONFIG, observe=told.append)
    assert told == [broken, alone, small, flat, press]
    reasons = {path.name: reason for path, reason in selection.skipped}
    assert reasons["alone.h5"] == "1 frame, expected two or more"
    assert reasons["small.h5"].startswith("frames of 384 x 40, expected 64")
    assert "not an HDF5 file" in reasons["broken.h5"]
    assert [p.kind for p in selection.rejected if p.recording == flat] == ["blank"]
    assert "broken.h5: left out, not an HDF5 file" in report(selection)


def test_a_pair_with_a_blank_frame_is_rejected_by_name(tmp_path: Path) -> None:
    source = scanner()
    frames = [source.frame(k).samples.astype(np.float32) for k in range(7)]
    frames[2][:] = 0
    frames[6][:] = np.nan
    selection = select([write(tmp_path / "press.h5", frames)], CONFIG)
    blank = {
        (pair.reference, pair.current): pair.reason for pair in selection.rejected if pair.kind == "blank"
    }
    assert set(blank) == {(0, 2), (1, 2), (2, 3), (2, 4), (4, 6), (5, 6)}
    assert blank[2, 3] == "frame 2: all samples are the same, expected an RF signal"
    assert blank[4, 6] == "frame 6: no sample is finite, expected an RF signal"
    assert selection.chosen
    assert "blank 6" in report(selection)
    assert "; blank: 0:2, 1:2, 2:3, 2:4, 4:6, 5:6 (frame 2: all samples" in report(selection)


def test_nothing_usable_is_one_line_with_the_commonest_reason(tmp_path: Path) -> None:
    still = write(tmp_path / "still.h5", [scanner().frame(0).samples] * 3)
    with pytest.raises(RecordingError) as caught:
        select([still], CONFIG)
    assert (
        "no usable pair in 1 recording: 3 candidates rejected, most often for their strain (3 times"
        in str(caught.value)
    )
    with pytest.raises(RecordingError, match=r"none\.h5"):
        select([tmp_path / "none.h5"], CONFIG)


def test_nan_samples_are_left_out_of_the_regions(tmp_path: Path) -> None:
    source = scanner()
    frames = [source.frame(k).samples.astype(np.float32) for k in (1, 3)]
    frames[0][200:, :] = np.nan
    selection = select([write(tmp_path / "nan.h5", frames)], CONFIG)
    (pair,) = selection.chosen
    assert pair.regions
    assert all(region.rows[1] <= 224 for region in pair.regions)
    assert math.isfinite(pair.strain)


def test_infinite_samples_are_matched_as_zeros(tmp_path: Path) -> None:
    source = scanner()
    frames = [source.frame(k).samples.astype(np.float32) for k in (1, 3)]
    clean = select([write(tmp_path / "clean.h5", frames)], CONFIG).chosen[0]
    for frame in frames:
        frame[150:170, 10:14], frame[5, 5] = np.inf, -np.inf
    (pair,) = select([write(tmp_path / "inf.h5", frames)], CONFIG).chosen
    assert pair.strain == pytest.approx(clean.strain, rel=0.1)


def test_the_near_field_is_in_no_region(tmp_path: Path) -> None:
    source = SimulatedScanner(ScannerConfig(), seed=0)  # 512 samples: 3 mm are 156 of them
    path = write(tmp_path / "default.h5", [source.frame(k).samples for k in (2, 4)])
    (pair,) = select([path], SelectionConfig(lags=(1,), strain=(0.001, 0.05))).chosen
    assert pair.lag == 1
    assert {(region.rows, region.lines) for region in pair.regions} == {((156, 508), (0, 128))}
    with pytest.raises(RecordingError, match="512 x 128, expected 64"):
        select([path], SelectionConfig(near_field_mm=9.0))


def test_a_recording_counts_once_and_one_without_candidates_is_named(press: Path, tmp_path: Path) -> None:
    selection = select([press, press.parent / ".." / press.parent.name / press.name], CONFIG)
    assert [reason for _, reason in selection.skipped] == ["named twice"]
    two = write(tmp_path / "two.h5", [scanner().frame(k).samples for k in range(2)])
    with pytest.raises(RecordingError, match=r"two\.h5: 2 frames, expected 7 .*lag of 6"):
        select([two], dataclasses.replace(CONFIG, lags=(6,)))
    with pytest.raises(RecordingError, match=r"0 recordings"):
        select([], CONFIG)


@pytest.mark.parametrize("frames", [50, 163, 400])
def test_every_lag_is_kept_at_every_time(frames: int) -> None:
    lags = [lag for k in range(frames) for lag in (1, 2, 3, 4, 6, 8) if k + lag < frames]
    kept = spread(lags, 120)
    assert len(set(kept)) == 120
    assert kept == sorted(kept)
    for part in (kept[:40], kept[40:80], kept[80:]):
        assert min(Counter(lags[k] for k in part).values()) >= 5
        assert len({lags[k] for k in part}) == 6


def test_no_more_pairs_than_asked_for_evenly_over_time(press: Path) -> None:
    everything = select([press], CONFIG)
    some = select([press], dataclasses.replace(CONFIG, pairs_a_recording=3))
    assert len(some.chosen) == 3
    assert some.chosen[0].reference == everything.chosen[0].reference
    assert some.chosen[-1].current == everything.chosen[-1].current
    assert {pair.kind for pair in some.rejected} >= {"number"}


def test_a_choice_is_the_same_again_and_plain_values(press: Path) -> None:
    selection = select([press], CONFIG)
    assert select([press], CONFIG) == selection
    tree = to_json(dataclasses.replace(selection, skipped=((Path("a.h5"), "gone"),)))
    assert json.loads(json.dumps(tree))["skipped"] == [{"recording": "a.h5", "reason": "gone"}]
    assert set(tree) == {"chosen", "rejected", "skipped"}
    assert tree["chosen"][0]["regions"][0]["rows"][1] <= SHAPE[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lags": ()}, r"selection.lags: got \[\], expected numbers from 1 up"),
        ({"lags": (0,)}, r"selection.lags: got \[0\], expected numbers from 1 up"),
        ({"strain": (0.02, 0.01)}, r"selection.strain: got \[0.02, 0.01\], expected \[least, largest\]"),
        ({"crop": (100, 64)}, r"selection.crop: got \[100, 64\], expected multiples of 32, 64 or more"),
        ({"least_correlation": 1.5}, "selection.least_correlation: got 1.5, expected 0 to 1"),
    ],
)
def test_impossible_wishes_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        dataclasses.replace(CONFIG, **change)
