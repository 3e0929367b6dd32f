"""Which plan runs on which GPU with which library, which one a frame gets, and why none does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from plans import A100, H200, plan, planned_bundle

from usert.bundle import Bundle
from usert.bundle.manifest import Manifest, Plan
from usert.errors import BundleError, EngineError
from usert.frame import Shape
from usert.runtime.engines.plan_choice import choose_plan, usable_plans


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return planned_bundle(tmp_path_factory.mktemp("bundle") / "b")


def usable(
    bundle: Bundle,
    *plans: Plan,
    library: str = "tensorrt",
    version: str = "10.13.0",
    gpu: str | None = H200,
    precisions: Sequence[str] = ("float16", "float32", "int8"),
) -> list[Plan]:
    manifest: Manifest = replace(bundle.manifest, plans=plans)
    return usable_plans(manifest, library=library, version=version, gpu=gpu, precisions=precisions)


def test_a_plan_runs_with_its_library_version_and_gpu_and_no_other(bundle: Bundle) -> None:
    ours = plan("ours.plan")
    others = (
        plan("rtx.plan", library="tensorrt_rtx"),
        plan("old.plan", version="10.12.0"),
        plan("a100.plan", gpu=A100),
    )
    assert usable(bundle, *others, ours) == [ours]
    rtx = plan("any.plan", library="tensorrt_rtx", version="1.7", gpu=None)
    assert usable(bundle, ours, rtx, library="tensorrt_rtx", version="1.7") == [rtx]


def test_the_precision_that_is_liked_best_comes_first(bundle: Bundle) -> None:
    full, half = plan("full.plan"), plan("half.plan", graph="strain_256x64.onnx")
    assert usable(bundle, full, half) == [half, full]
    assert usable(bundle, full, half, precisions=("float32",)) == [full]


@pytest.mark.parametrize(
    ("plans", "gpu", "precisions", "message"),
    [
        (
            [plan("strain_512x128.tensorrt.plan", gpu=A100)],
            H200,
            ["float32"],
            "tensorrt: strain_512x128.tensorrt.plan was built for NVIDIA A100 (sm_80) by tensorrt 10.13.0, here are "
            "NVIDIA H200 (sm_90) and tensorrt 10.13.0: export on this machine with --plan tensorrt",
        ),
        (
            [
                plan(version="10.12.0"),
                plan("same.plan", version="10.12.0"),
                plan("b.plan", gpu=None, version="9"),
            ],
            H200,
            ["float32"],
            "tensorrt: a.plan was built for NVIDIA H200 (sm_90) by tensorrt 10.12.0, b.plan was built for the GPUs "
            "that tensorrt chooses by tensorrt 9, here are NVIDIA H200 (sm_90) and tensorrt 10.13.0: export on this "
            "machine with --plan tensorrt",
        ),
        (
            [plan(library="tensorrt_rtx")],
            H200,
            ["float32"],
            "tensorrt: the bundle has no plan of it: make one on this machine by usert export … --plan tensorrt",
        ),
        (
            [plan()],
            H200,
            ["int8"],
            "tensorrt: got plans of float32, expected int8: export on this machine with --plan tensorrt "
            "--precision int8",
        ),
        (
            [plan()],
            None,
            ["float32"],
            "tensorrt: no NVIDIA GPU here, or nothing that tells: no driver, or no pynvml, which comes with "
            "pip install 'usert[tensorrt]'",
        ),
    ],
    ids=["another GPU", "another version", "no plan", "another precision", "no GPU"],
)
def test_why_no_plan_runs_is_said_in_one_line(
    bundle: Bundle, plans: list[Plan], gpu: str | None, precisions: list[str], message: str
) -> None:
    with pytest.raises(EngineError) as caught:
        usable(bundle, *plans, gpu=gpu, precisions=precisions)
    assert str(caught.value) == message


EXACT, ODD = plan("exact.plan"), plan("odd.plan", least=(500, 120))
RANGE = plan("range.plan", least=(256, 64), most=(1024, 256))


@pytest.mark.parametrize(
    ("shape", "chosen", "whole"),
    [
        ((512, 128), EXACT, (512, 128)),
        ((500, 120), ODD, (500, 120)),
        ((499, 119), EXACT, (512, 128)),
        ((513, 129), RANGE, (544, 160)),
        ((226, 33), RANGE, (256, 64)),
        ((1024, 256), RANGE, (1024, 256)),
    ],
)
def test_a_plan_of_the_shape_comes_before_one_for_a_range(shape: Shape, chosen: Plan, whole: Shape) -> None:
    assert choose_plan([RANGE, ODD, EXACT], shape) == (chosen, whole)


def test_every_frame_fits_or_is_refused_by_brute_force() -> None:
    """Padded by less than 32 each way, to a shape that the plan takes."""
    for rows in range(200, 1100, 7):
        for lines in range(30, 290, 3):
            try:
                found, whole = choose_plan([RANGE], (rows, lines))
            except BundleError:
                assert rows <= 224 or rows > 1024 or lines <= 32 or lines > 256
                continue
            assert 0 <= whole[0] - rows < 32
            assert 0 <= whole[1] - lines < 32
            assert all(
                low <= side <= high for low, side, high in zip(found.least, whole, found.most, strict=True)
            )


def test_of_two_that_fit_equally_the_first_is_taken() -> None:
    twin = replace(EXACT, file="twin.plan")
    assert choose_plan([twin, EXACT], (512, 128))[0] is twin


def test_a_frame_that_no_plan_takes_names_what_there_is() -> None:
    with pytest.raises(BundleError) as caught:
        choose_plan([EXACT, RANGE, replace(EXACT, file="twin.plan")], (1100, 100))
    assert str(caught.value) == (
        "frame: got 1100x100, expected 512x128, 256x64 to 1024x256, or up to 31 samples or lines less; export the "
        "bundle with --shape 1100x100 --plan tensorrt"
    )
