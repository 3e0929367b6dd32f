"""Regions to learn from: where there are echoes, apart from one another, and of sides that fit."""

from __future__ import annotations

import numpy as np

from usert.train.finetune.regions import choose_regions, crop_that_fits, usable


def test_near_field_shadow_and_glare_are_not_usable() -> None:
    frame = np.random.default_rng(2).standard_normal((512, 64)) * 100
    frame[:, 24:40] *= 0.01  # a shadow of 40 dB
    frame[480:] *= 1000  # a saturated band
    mask = usable(frame, near_rows=40, shadow_db=20)
    assert not mask[:40].any()
    assert not mask[:480, 24:40].any()
    assert not mask[480:, :24].any()
    assert mask[64:480, :24].all()
    assert not usable(np.zeros((64, 64)), near_rows=0, shadow_db=20).any()


def test_regions_lie_where_the_echoes_are_and_apart() -> None:
    mask = np.zeros((512, 256), bool)
    mask[100:, 64:] = True
    regions = choose_regions(mask, (128, 64), count=4, least_signal=0.9)
    assert len(regions) == 4
    for region in regions:
        assert mask[slice(*region.rows), slice(*region.lines)].mean() >= 0.9
    assert len({(region.rows, region.lines) for region in regions}) == 4
    assert choose_regions(np.zeros((128, 64), bool), (128, 64), count=1, least_signal=0.1) == ()


def test_small_frames_give_smaller_crops() -> None:
    assert crop_that_fits((500, 100), (1024, 128)) == (480, 96)
    assert crop_that_fits((2000, 400), (1024, 128)) == (1024, 128)
