"""A bundle takes over from another: real engines on tiny bundles, and every way in which it may come to nothing."""

from __future__ import annotations

import json
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live import SHAPE, TIMEOUT_S, wait_until
from swapping import Opener, refusal
from tiny_bundle import QUALITY, STRAIN, STRAIN_WINDOW, other_bundle, tiny_bundle

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, MissingExtraError, OptionError, UsertError
from usert.runtime.engines.interface import Engine, FrameFormat
from usert.runtime.imaging.estimate import EstimatedPair
from usert.runtime.imaging.image_quality import ImageQualityRule
from usert.runtime.server.bundle_swap import BundleSwap, trained_strain


def test_a_good_bundle_is_ready_warm_and_tried(
    change: BundleSwap, opener: Opener, trial: EstimatedPair, tmp_path: Path
) -> None:
    bundle = other_bundle(tmp_path / "other", strain=0.0625, quality=0.875)
    future = change.start(
        bundle.folder, opener=opener, frames=[FrameFormat(SHAPE), FrameFormat((32, 16))], trial=trial
    )
    ready = future.result(TIMEOUT_S)
    assert change.take() is ready
    assert change.take() is None
    assert ready.engine.name == "onnxruntime CPUExecutionProvider"
    assert (ready.path, ready.bundle_sha256) == (bundle.folder, bundle.sha256)
    assert ready.weights_sha256 == bundle.manifest.weights.sha256
    assert ready.quality_rule == ImageQualityRule(trained_strain=trained_strain(bundle.manifest))
    assert ready.fields()["shapes"] == (SHAPE, (32, 16))
    check = ready.check
    assert check is not None
    assert (check.score, check.running_score) == pytest.approx((0.875, QUALITY))
    assert (check.mean_strain, check.running_mean_strain) == pytest.approx((0.0625, STRAIN))
    assert check.milliseconds > 0
    assert json.loads(json.dumps(ready.fields()))["check"]["mean_strain"] == 0.0625
    answer = ready.engine.run(trial.reference.frame.samples, trial.current.frame.samples)
    assert (answer.strain == 0.0625).all()
    assert (answer.displacement == trial.estimate.displacement).all()
    change.close(TIMEOUT_S)
    assert opener.closed == [False], "it is the taker's"
    ready.engine.close()


def test_without_a_pair_or_a_shape_the_bundle_is_still_run(
    change: BundleSwap, opener: Opener, bundle: Bundle
) -> None:
    ready = change.start(bundle.folder, opener=opener, frames=[], trial=None).result(TIMEOUT_S)
    assert ready.fields()["shapes"] == ((2 * STRAIN_WINDOW, 64),)
    assert ready.check is None


def test_a_bundle_for_one_shape_is_run_at_that(change: BundleSwap, opener: Opener, tmp_path: Path) -> None:
    fixed = tiny_bundle(tmp_path / "fixed", shapes=((64, 32),))
    ready = change.start(fixed.folder, opener=opener, frames=[], trial=None).result(TIMEOUT_S)
    assert ready.fields()["shapes"] == ((64, 32),)
    change.take()
    line = refusal(
        change, change.start(fixed.folder, opener=opener, frames=[FrameFormat((96, 32))], trial=None)
    )
    assert line.startswith(f"bundle {fixed.folder}: frame: got 96x32, expected 64x32")


def test_a_source_whose_frames_no_engine_takes_stops_no_change(
    change: BundleSwap, opener: Opener, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    short = FrameFormat((STRAIN_WINDOW - 1, 16))
    ready = change.start(bundle.folder, opener=opener, frames=[short], trial=None).result(TIMEOUT_S)
    assert ready.check is None
    change.take()
    both = change.start(bundle.folder, opener=opener, frames=[short, FrameFormat(SHAPE)], trial=None)
    assert both.result(TIMEOUT_S).fields()["shapes"] == (short.shape, SHAPE)
    assert sum("the strain window" in record.message for record in caplog.records) == 2


def test_one_change_at_a_time(
    change: BundleSwap, opener: Opener, bundle: Bundle, trial: EstimatedPair, tmp_path: Path
) -> None:
    opener.gate.clear()
    first = change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=trial)
    assert opener.entered.wait(TIMEOUT_S)
    assert change.take() is None, "and nobody waits for it"
    for _ in ("while it loads", "while it waits to be taken"):
        with pytest.raises(BundleError, match=r"/other: .*expected one"):
            change.start(tmp_path / "other", opener=opener, frames=[FrameFormat(SHAPE)], trial=trial)
        opener.gate.set()
        first.result(TIMEOUT_S)
    assert change.take() is not None
    second = change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=trial)
    assert second.result(TIMEOUT_S) is change.take()


def test_one_that_failed_stands_in_the_way_until_it_is_heard(
    change: BundleSwap, opener: Opener, bundle: Bundle, tmp_path: Path
) -> None:
    failed = change.start(tmp_path / "nothing", opener=opener, frames=[FrameFormat(SHAPE)], trial=None)
    assert isinstance(failed.exception(TIMEOUT_S), BundleError)
    with pytest.raises(BundleError, match=r"/nothing .*expected one"):
        change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None)
    refusal(change, failed)
    ready = change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None).result(
        TIMEOUT_S
    )
    assert change.take() is ready


def test_a_cancelled_change_closes_what_it_opened(change: BundleSwap, opener: Opener, bundle: Bundle) -> None:
    opener.gate.clear()
    future = change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None)
    assert opener.entered.wait(TIMEOUT_S)
    assert future.cancel()
    with pytest.raises(BundleError, match="expected one"):
        change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None)
    opener.gate.set()
    wait_until(lambda: bool(opener.opened) and opener.closed == [True])
    with pytest.raises(CancelledError):
        future.result(TIMEOUT_S)
    assert change.take() is None
    wait_until(lambda: starts(change, bundle, opener))


def starts(change: BundleSwap, bundle: Bundle, opener: Opener) -> bool:
    try:
        change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None)
    except BundleError:
        return False
    return True


def test_the_end_closes_what_nobody_took(change: BundleSwap, opener: Opener, bundle: Bundle) -> None:
    change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None).result(TIMEOUT_S)
    change.close(TIMEOUT_S)
    change.close(TIMEOUT_S)
    assert opener.closed == [True]
    assert change.take() is None
    with pytest.raises(BundleError, match=f"{bundle.folder}.*closing"):
        change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None)


def test_the_end_does_not_wait_for_a_library_and_nothing_is_left_open(
    change: BundleSwap, opener: Opener, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    opener.gate.clear()
    future = change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None)
    assert opener.entered.wait(TIMEOUT_S)
    change.close(0)
    assert f"bundle {bundle.folder}: still loading while the server closes" in caplog.text
    assert future.cancelled()
    opener.gate.set()
    change.close(TIMEOUT_S)
    assert opener.closed == [True]


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (MemoryError("no memory\nat all"), EngineError, "no memory at all"),
        (MemoryError(), EngineError, "MemoryError"),
        (CancelledError(), EngineError, "CancelledError"),
        (SystemExit("a library ends"), EngineError, "a library ends"),
        (OptionError("engine: got 'x'"), OptionError, "engine: got 'x'"),
        (MissingExtraError("torch is not installed"), MissingExtraError, "torch is not installed"),
    ],
)
def test_what_an_opener_raises_names_the_bundle(
    bundle: Bundle, error: BaseException, kind: type[UsertError], said: str
) -> None:
    def fails(_: Bundle) -> Engine:
        raise error

    change = BundleSwap()
    future = change.start(bundle.folder, opener=fails, frames=[FrameFormat(SHAPE)], trial=None)
    assert isinstance(future.exception(TIMEOUT_S), kind)
    assert refusal(change, future) == f"bundle {bundle.folder}: {said}"
    change.close(TIMEOUT_S)


def test_changes_given_up_at_any_moment_leave_nothing_open(bundle: Bundle) -> None:
    rng, opener, taken = np.random.default_rng(0), Opener(), 0
    for k in range(40):
        change = BundleSwap()
        future = change.start(bundle.folder, opener=opener, frames=[FrameFormat(SHAPE)], trial=None)
        ready = None
        if k == 0:  # at leisure
            future.result(TIMEOUT_S)
            while ready is None:
                ready = change.take()
        elif k > 1:  # at once, or at some moment
            for _ in range(int(10 ** rng.uniform(0, 5))):
                ready = ready or change.take()
        if rng.random() < 0.5:
            future.cancel()
        change.close(TIMEOUT_S)
        assert future.done()
        if ready is not None:
            taken += 1
            ready.engine.close()
    assert 0 < taken < 40
    assert all(opener.closed)


def test_weights_that_never_saw_rf_have_no_range(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert trained_strain(manifest) == pytest.approx((3e-4, 0.03))
    assert trained_strain(replace(manifest, input=replace(manifest.input, trained_for=None))) is None
