"""Displacement fields against the formulas they state, and what lies between two of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from usert.phantom.field import Field, Rigid, Scaled, Sum, Uniform, Waves, between, grid_mm
from usert.phantom.inclusion import Inclusion

RNG = np.random.default_rng(0)
Z, X = RNG.uniform(0, 10, 200), RNG.uniform(0, 15, 200)
SHEAR_WAVE = Waves(rows=((0.05, -0.02, 0.3, 0.7, 1.1), (0.01, 0.04, 0.9, -0.2, 0.0)))
SOFT = Inclusion(strain=0.02, centre_z_mm=5, centre_x_mm=7, radius_mm=2, modulus_ratio=0.2)
STATES: list[Field] = [
    Uniform(strain=0.03, centre_x_mm=7.5),
    Rigid(dz_mm=0.3, dx_mm=-0.2),
    SHEAR_WAVE,
    SOFT,
    Sum(fields=(Scaled(field=SOFT, scale=1.5), SHEAR_WAVE, Rigid(dz_mm=0.1, dx_mm=0.0))),
]


def test_uniform_compression_comes_towards_the_probe_and_keeps_its_area() -> None:
    field = Uniform(strain=0.02, centre_x_mm=5)
    dz, dx = field(np.array([0.0, 10.0]), np.array([5.0, 8.0]))
    np.testing.assert_allclose(dz, [0, -0.2])
    np.testing.assert_allclose(dx, [0, 0.06])
    assert Uniform(strain=0.02, lateral_ratio=0.0)(np.ones(1), np.ones(1))[1] == 0


def test_a_rigid_shift_is_the_same_everywhere() -> None:
    dz, dx = Rigid(dz_mm=0.3, dx_mm=-0.1)(Z, X)
    np.testing.assert_array_equal(dz, np.full_like(Z, 0.3))
    np.testing.assert_array_equal(dx, np.full_like(X, -0.1))


def test_waves_add_up_point_by_point() -> None:
    dz, dx = SHEAR_WAVE(Z, X)
    for k in range(0, 200, 17):
        waves = [np.cos(kz * Z[k] + kx * X[k] + phase) for _, _, kz, kx, phase in SHEAR_WAVE.rows]
        assert dz[k] == pytest.approx(0.05 * waves[0] + 0.01 * waves[1])
        assert dx[k] == pytest.approx(-0.02 * waves[0] + 0.04 * waves[1])


def test_sum_and_scaled_are_linear() -> None:
    total = Sum(fields=(SHEAR_WAVE, Scaled(field=SOFT, scale=-2)))(Z, X)
    for got, wave, soft in zip(total, SHEAR_WAVE(Z, X), SOFT(Z, X), strict=True):
        np.testing.assert_allclose(got, wave - 2 * soft, atol=1e-15)


@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
def test_there_and_back_is_nowhere(first: Field, second: Field) -> None:
    there_z, there_x = between(first, second, Z, X)
    back_z, back_x = between(second, first, Z + there_z, X + there_x)
    np.testing.assert_allclose(there_z + back_z, 0, atol=1e-9)
    np.testing.assert_allclose(there_x + back_x, 0, atol=1e-9)


def test_between_is_what_becomes_of_points_that_are_followed_from_rest() -> None:
    first, second = STATES[4], STATES[3]
    (z1, x1), (z2, x2) = first(Z, X), second(Z, X)
    dz, dx = between(first, second, Z + z1, X + x1)
    np.testing.assert_allclose(dz, z2 - z1, atol=1e-9)
    np.testing.assert_allclose(dx, x2 - x1, atol=1e-9)


def test_from_rest_it_is_the_field_itself() -> None:
    dz, dx = between(Rigid(dz_mm=0, dx_mm=0), SHEAR_WAVE, Z, X)
    np.testing.assert_allclose((dz, dx), SHEAR_WAVE(Z, X))


@pytest.mark.parametrize("field", STATES)
def test_torch_and_numpy_agree(field: Field) -> None:
    for ours, theirs in zip(field(Z, X), field(torch.from_numpy(Z), torch.from_numpy(X)), strict=True):
        assert isinstance(theirs, torch.Tensor)
        np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-12, atol=1e-14)


def test_grid_starts_at_the_probe_and_the_first_line() -> None:
    z, x = grid_mm((3, 4), 0.02, 0.1)
    assert z.shape == x.shape == (3, 4)
    np.testing.assert_allclose(z[:, 2], [0, 0.02, 0.04])
    np.testing.assert_allclose(x[1], [0, 0.1, 0.2, 0.3])
