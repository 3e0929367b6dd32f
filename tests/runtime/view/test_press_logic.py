"""Presses, their best images and averages: the page's functions in a real browser, against brute force and NumPy."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from browser import MakePage, Open, Screen
from numpy.typing import NDArray
from publishing import image
from show import Show

from usert.frame import Scan
from usert.runtime.protocol.age import Age
from usert.runtime.view.measure import MOST_IMAGES, Measured, Plan, Ruler
from usert.runtime.view.picture import Arrival, Painter
from usert.runtime.view.planes import strain_of, unpack

pytestmark = pytest.mark.slow  # a browser: where there is Chromium

SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.12)
LEAST = 0.7
_AVERAGED = """async (list) => {
  const { Picture } = await import('/static/picture.js');
  const { averaged } = await import('/static/average.js');
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer;
  const found = averaged(list.map((text) => new Picture(bytes(text))));
  return found && btoa(Array.from(new Uint8Array(found.message), (one) => String.fromCharCode(one)).join(''));
}"""
_PRESSES = "async (images) => (await import('/static/best.js')).presses(images)"
_STEPS = """async ([images, place, count]) => {
  const { bestFrom, presses } = await import('/static/best.js');
  const found = [];
  for (let at = 0; at < count; at++) found.push((place = bestFrom(presses(images), place)));
  return found;
}"""


@pytest.fixture
def screen(show: Show, serve_page: MakePage, look: Open) -> Screen:
    show.silent = True
    return look(serve_page(strain=show.strain).url)


def random_images(seed: int, count: int = 40) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    now, sign, session, images = 0.0, 1, 1, []
    for _ in range(count):
        now += float(random.choice([100, 100, 100, 999, 1001], p=[0.3, 0.3, 0.2, 0.1, 0.1]))
        sign = int(random.choice([sign, sign, -sign, 0], p=[0.5, 0.3, 0.1, 0.1]))
        session += int(random.random() < 0.04)
        kind = random.choice(
            ["live", "held quality", "held still", "held frozen", "idle still"],
            p=[0.8, 0.1, 0.03, 0.03, 0.04],
        )
        state, _, reason = str(kind).partition(" ")
        strain = sign * float(random.choice([0.001, 0.003, 0.008, 0.015, 0.02]))
        header = {
            "readable_strain": strain,
            "score": float(random.choice([0.5, 0.8, 0.9])),
            "session": session,
            "server_starts": 1,
        }
        compression = max(-1.0, min(1.0, strain / 0.015))
        images.append(
            {
                "state": state,
                "reason": reason,
                "compression": compression,
                "arrivedMs": now,
                "run": "a",
                "header": header,
            }
        )
        sign = sign or 1
    return images


def brute_presses(images: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every stretch that is a press and that no longer press holds."""

    def is_press(first: int, last: int) -> bool:
        some = [
            one for one in images[first : last + 1] if (one["state"], one["reason"]) != ("held", "quality")
        ]
        ends = images[first], images[last]
        if any(one["state"] != "live" for one in (*ends, *some)):
            return False
        signs = {np.sign(one["compression"]) for one in some}
        sessions = {one["header"]["session"] for one in some}
        gaps = [b["arrivedMs"] - a["arrivedMs"] for a, b in itertools.pairwise(some)]
        return len(signs) == 1 and 0 not in signs and len(sessions) == 1 and max(gaps, default=0) <= 1000

    stretches = [(a, b) for a in range(len(images)) for b in range(a, len(images)) if is_press(a, b)]
    whole = [
        (a, b) for a, b in stretches if not any((c, d) != (a, b) and c <= a and b <= d for c, d in stretches)
    ]
    return [
        {
            "first": a,
            "last": b,
            "sign": int(np.sign(images[a]["compression"])),
            "best": brute_best(images, a, b),
        }
        for a, b in whole
    ]


def brute_best(images: Sequence[dict[str, Any]], first: int, last: int) -> int:
    able = [
        (-one["header"]["score"], at)
        for at, one in enumerate(images)
        if first <= at <= last
        and one["state"] == "live"
        and 0.003 <= abs(one["header"]["readable_strain"]) <= 0.015
    ]
    return min(able, default=(0, -1))[1]


def test_presses_and_their_best_images_are_those_of_brute_force(screen: Screen) -> None:
    many = 0
    for seed in range(60):
        images = random_images(seed)
        found = screen.page.evaluate(_PRESSES, images)
        assert found == brute_presses(images)
        many += len(found)
    assert many > 300
    assert screen.page.evaluate(_PRESSES, []) == []


def test_the_key_goes_from_press_to_press(screen: Screen) -> None:
    """The best of the shown image's press; then those before it, and round again."""
    images = random_images(3)
    best = [press["best"] for press in brute_presses(images) if press["best"] >= 0]
    assert len(best) > 3
    found = screen.page.evaluate(_STEPS, [images, len(images), len(best) + 1])
    assert found == [*reversed(best), best[-1]]
    assert screen.page.evaluate(_STEPS, [images[: best[0]], 0, 1]) == [-1]
    assert screen.page.evaluate(_STEPS, [[], 0, 1]) == [-1]


def message(strain: NDArray[Any], quality: NDArray[Any], published: int = 1, **changes: Any) -> bytes:
    grids = {
        "strain": strain.astype(np.float32),
        "quality": quality.astype(np.float32),
        "displacement": np.zeros((2, *strain.shape), np.float32),
    }
    fields = {"scan": SCAN, "readable_quality": LEAST} | changes | grids
    arrival = Arrival(age=Age(ms=10, exact=True), at_ns=10**12)
    return Painter().paint(replace(image(published), **fields), arrival, None).encoded


def noisy(count: int, shape: tuple[int, int] = (64, 32)) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """A pattern pressed and released more and less, with noise, and quality that comes and goes."""
    random = np.random.default_rng(5)
    pattern = np.where(np.arange(shape[1]) < shape[1] // 2, 0.5, 1.5) * np.ones(shape)
    images = []
    for at in range(count):
        mean = (-1) ** (at // 3) * random.uniform(0.002, 0.015)
        quality = np.clip(random.uniform(0.6, 1.0) + random.normal(0, 0.1, shape), 0, 1)
        quality[-8:] = 0.9 if at % 3 == 0 else 0.2  # readable in a third of the images
        images.append((mean * pattern + random.normal(0, 5e-4, shape), quality))
    return images


def average(screen: Screen, messages: Sequence[bytes]) -> bytes | None:
    found = screen.page.evaluate(_AVERAGED, [base64.b64encode(one).decode() for one in messages])
    return None if found is None else base64.b64decode(found)


def numpy_average(messages: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Strain, NaN where it may not be read, how often it may, and the mean |k|: by the formula, on the sent pixels."""
    strains, qualities = [], []
    for one in messages:
        _, planes = unpack(one, ("strain", "quality"))
        strains.append(strain_of(planes["strain"]).astype(np.float64))
        qualities.append(planes["quality"].values / 255)
    s, q = np.array(strains), np.array(qualities)
    readable = (q >= np.ceil(255 * LEAST - 1e-9) / 255) & np.isfinite(s)
    k = np.array([one[mask].mean() for one, mask in zip(s, readable, strict=True)])[:, None, None]
    gain = k**2 / (k**2 + 0.012**2)
    weight = readable * q**2 / (1 - q**2 + 0.04) * gain
    size = float((gain * abs(k)).sum() / gain.sum())
    share = readable.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = size * (weight * np.nan_to_num(s) / k).sum(axis=0) / weight.sum(axis=0)
    return np.where(share >= 0.5, mean, np.nan), share, size


def test_an_average_is_that_of_numpy_over_the_same_pixels(screen: Screen) -> None:
    messages = [message(*one, published=at) for at, one in enumerate(noisy(9), 1)]
    expected, share, size = numpy_average(messages)
    sent = average(screen, messages)
    assert sent is not None
    fields, planes = unpack(sent, ("strain", "quality"))
    found = strain_of(planes["strain"])
    np.testing.assert_array_equal(np.isfinite(found), share >= 0.5)
    np.testing.assert_allclose(found, expected, atol=6e-6)
    assert not np.isfinite(found[-8:]).any()
    assert np.isfinite(found[:-8]).mean() > 0.5
    assert (planes["quality"].values[np.isfinite(found)] >= fields["least_readable"]).all()
    assert (planes["quality"].values[~np.isfinite(found)] == 0).all()
    assert fields["average"]["images"] == 9
    headers = [unpack(one, ())[0] for one in messages]
    assert (
        (fields["reference"], fields["current"])
        == (headers[0]["reference"], headers[-1]["current"])
        == (1, 9)
    )
    assert fields["readable_strain"] == pytest.approx(float(np.nanmean(expected)), abs=1e-5)
    left, right = np.nanmean(found[:, :16]), np.nanmean(found[:, 16:])
    assert left / right == pytest.approx(1 / 3, abs=0.02)
    assert size == pytest.approx(0.01, abs=0.005)


def test_an_average_has_less_noise_than_its_images(screen: Screen) -> None:
    messages = [message(strain, np.full_like(strain, 0.95)) for strain, _ in noisy(16)]
    sent = average(screen, messages)
    assert sent is not None
    plane = strain_of(unpack(sent, ("strain",))[1]["strain"])
    relative = [abs(one[:, :16].std() / one[:, :16].mean()) for one in [plane, *(s for s, _ in noisy(16))]]
    assert relative[0] < 0.5 * min(relative[1:])


def test_presses_and_releases_of_any_strength_average_to_the_same(screen: Screen) -> None:
    base, quality = noisy(1)[0]
    quality = np.full_like(quality, 0.9)
    sent = average(screen, [message(scale * base, quality) for scale in (1, -1, 0.5, -2)])
    assert sent is not None
    found = strain_of(unpack(sent, ("strain",))[1]["strain"])
    np.testing.assert_allclose(found / found.mean(), base / base.mean(), atol=0.02)


def test_only_live_images_of_one_session_are_averaged(screen: Screen) -> None:
    (strain, quality), (other, _) = noisy(2)
    quality = np.full_like(quality, 0.9)
    good = message(strain, quality)
    mixed = [
        message(other, quality, session=9),
        good,
        message(other, quality, state="held", reason="quality"),
        good,
    ]
    sent = average(screen, mixed)
    assert sent is not None
    assert unpack(sent, ())[0]["average"]["images"] == 2
    np.testing.assert_allclose(
        strain_of(unpack(sent, ("strain",))[1]["strain"]),
        strain_of(unpack(good, ("strain",))[1]["strain"]),
        atol=6e-6,
    )
    assert average(screen, [message(strain, quality, state="idle", reason="still")]) is None
    assert average(screen, [message(strain, 0 * quality)]) is None, "nothing may be read"
    assert average(screen, []) is None


def test_a_ratio_can_be_measured_on_an_average(screen: Screen) -> None:
    messages = [message(strain, np.full_like(strain, 0.95)) for strain, _ in noisy(MOST_IMAGES, (512, 64))]
    sent = average(screen, messages)
    assert sent is not None
    shapes = [{"kind": "rectangle", "depth": (1, 7), "lateral": lateral} for lateral in ((0.3, 3), (4.5, 7))]
    plan = Plan.parse({"version": 1, "shapes": shapes, "reference": 1})
    reading = Ruler(plan).read(Measured.from_message(sent))
    assert reading is not None
    ratio = reading.ratios[0]
    assert ratio is not None
    assert ratio.ratio == pytest.approx(1 / 3, abs=0.01)
