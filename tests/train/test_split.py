"""The split into training and held-out pairs shares no frame."""

from __future__ import annotations

from pathlib import Path

from usert.train.finetune.regions import Region
from usert.train.finetune.selection import ChosenPair, Selection
from usert.train.finetune.split import split_chosen


def chosen(name: str, reference: int, current: int) -> ChosenPair:
    region = Region(rows=(0, 64), lines=(0, 64))
    return ChosenPair(
        recording=Path(name),
        reference=reference,
        current=current,
        regions=(region,),
        strain=0.01,
        correlation=0.9,
    )


def test_whole_recordings_are_held_out() -> None:
    pairs = tuple(chosen(name, k, k + 1) for name in ("a", "b", "c", "d", "e") for k in range(3))
    training, held = split_chosen(Selection(chosen=pairs, rejected=(), skipped=()), share=0.4, seed=1)
    assert set(training) | set(held) == set(pairs)
    assert len({pair.recording for pair in held}) == 2
    assert not {pair.recording for pair in held} & {pair.recording for pair in training}


def test_a_single_recording_is_split_in_time_without_a_shared_frame() -> None:
    pairs = tuple(chosen("a", k, k + lag) for k in range(20) for lag in (1, 3))
    training, held = split_chosen(Selection(chosen=pairs, rejected=(), skipped=()), share=0.3, seed=1)
    assert training
    assert held
    frames = [{k for pair in side for k in (pair.reference, pair.current)} for side in (training, held)]
    assert not frames[0] & frames[1]
    assert max(frames[0]) < min(frames[1])


def test_a_short_recording_of_long_lags_is_split_where_it_can_be() -> None:
    pairs = tuple(chosen("a", k, k + 8) for k in range(12))
    training, held = split_chosen(Selection(chosen=pairs, rejected=(), skipped=()), share=0.2, seed=1)
    assert (len(training), len(held)) == (3, 1)
    training, held = split_chosen(Selection(chosen=pairs[:4], rejected=(), skipped=()), share=0.2, seed=1)
    assert (training, held) == (pairs[:4], ())
