"""The closed form of the disc against the equations of elasticity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from usert.phantom.field import Uniform
from usert.phantom.inclusion import Inclusion

RADIUS = 2.0
ANGLES = np.linspace(0.05, 2 * np.pi + 0.05, 24, endpoint=False)
STEP = 1e-3


def disc_of(modulus_ratio: float, poisson: float = 0.495) -> Inclusion:
    return Inclusion(
        strain=0.01,
        centre_z_mm=6.0,
        centre_x_mm=5.0,
        radius_mm=RADIUS,
        modulus_ratio=modulus_ratio,
        poisson=poisson,
    )


def gradient(disc: Inclusion, z: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """(2, 2, K): derivative of component (z, x) by coordinate (z, x), by central differences."""
    columns = [
        (np.stack(disc(z + a, x + b)) - np.stack(disc(z - a, x - b))) / (2 * STEP)
        for a, b in ((STEP, 0.0), (0.0, STEP))
    ]
    return np.stack(columns, axis=1)


def at_rim(disc: Inclusion, radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return disc.centre_z_mm + radius * np.cos(ANGLES), disc.centre_x_mm + radius * np.sin(ANGLES)


def traction(disc: Inclusion, radius: float, modulus: float) -> NDArray[np.float64]:
    """(2, K): stress on the circle by Hooke's law of plane strain."""
    slope = gradient(disc, *at_rim(disc, radius))
    strain = (slope + slope.swapaxes(0, 1)) / 2
    volume = strain[0, 0] + strain[1, 1]
    lame = 2 * modulus * disc.poisson / (1 - 2 * disc.poisson)
    stress = 2 * modulus * strain + lame * volume * np.eye(2)[:, :, None]
    force: NDArray[np.float64] = stress[:, 0] * np.cos(ANGLES) + stress[:, 1] * np.sin(ANGLES)
    return force


@pytest.mark.parametrize("poisson", [0.3, 0.495])
@pytest.mark.parametrize("modulus_ratio", [0.2, 1.0, 3.0, 50.0])
def test_displacement_and_traction_are_continuous_across_the_rim(
    modulus_ratio: float, poisson: float
) -> None:
    disc = disc_of(modulus_ratio, poisson)
    inside, outside = (np.stack(disc(*at_rim(disc, RADIUS + side))) for side in (-1e-9, 1e-9))
    np.testing.assert_allclose(inside, outside, atol=1e-9)
    within = traction(disc, RADIUS - 2 * STEP, modulus_ratio)
    beyond = traction(disc, RADIUS + 2 * STEP, 1.0)
    np.testing.assert_allclose(within, beyond, atol=6e-3 * np.abs(beyond).max())


def test_the_surface_above_the_centre_is_held() -> None:
    dz, dx = disc_of(4.0)(np.zeros(3), np.array([4.0, 5.0, 6.0]))
    assert dz[1] == dx[1] == 0
    assert dz[0] == pytest.approx(dz[2])
    assert dx[0] == pytest.approx(-dx[2])


@pytest.mark.parametrize("modulus_ratio", [0.2, 3.0, 50.0])
def test_far_away_the_strain_is_that_of_the_load(modulus_ratio: float) -> None:
    disc = disc_of(modulus_ratio)
    slope = gradient(disc, *at_rim(disc, 100 * RADIUS))
    np.testing.assert_allclose(slope[0, 0], -0.01, rtol=1e-3)
    np.testing.assert_allclose(slope[1, 1], 0.01 * 0.495 / 0.505, rtol=1e-3)
    np.testing.assert_allclose(slope[0, 1] + slope[1, 0], 0, atol=1e-5)


@pytest.mark.parametrize("modulus_ratio", [0.2, 1.0, 3.0, 50.0])
def test_inside_the_strain_is_uniform_and_as_stated(modulus_ratio: float) -> None:
    disc = disc_of(modulus_ratio)
    slopes = [gradient(disc, *at_rim(disc, share * RADIUS)) for share in (0.1, 0.5, 0.9)]
    np.testing.assert_allclose(-np.concatenate([s[0, 0] for s in slopes]), disc.strain_inside, rtol=1e-6)
    incompressible = disc_of(modulus_ratio, poisson=0.5)
    assert incompressible.strain_inside == pytest.approx(0.01 * 2 / (1 + modulus_ratio), rel=1e-12)


def test_a_disc_like_its_surroundings_is_not_there() -> None:
    disc = Inclusion(strain=0.02, centre_z_mm=4, centre_x_mm=6, radius_mm=2, modulus_ratio=1)
    z, x = np.random.default_rng(1).uniform(0, 10, (2, 300))
    uniform = Uniform(strain=0.02, lateral_ratio=0.495 / 0.505, centre_x_mm=6)
    np.testing.assert_allclose(disc(z, x), uniform(z, x), atol=1e-15)


def test_a_void_concentrates_the_load_threefold() -> None:
    """Kirsch: at the ends of the diameter across the load, three times the far stress, and no other stress."""
    disc = disc_of(1e-6)
    rim = np.array([disc.centre_x_mm + RADIUS + 2 * STEP])
    slope = gradient(disc, np.array([disc.centre_z_mm]), rim)
    assert -slope[0, 0, 0] / 0.01 == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize("modulus_ratio", [0.2, 3.0, 50.0])
def test_nearly_incompressible_tissue_keeps_its_volume(modulus_ratio: float) -> None:
    disc = disc_of(modulus_ratio, poisson=0.4999)
    for radius in (0.5, 0.99, 1.01, 1.5, 4.0):
        slope = gradient(disc, *at_rim(disc, radius * RADIUS))
        np.testing.assert_allclose(slope[0, 0] + slope[1, 1], 0, atol=2e-3 * 0.01)
