"""The slab by finite elements against the closed forms it contains."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from usert.errors import MissingExtraError, OptionError
from usert.phantom.fem import Slab, SlabField, compress, slab_with_disc
from usert.phantom.field import Uniform
from usert.phantom.inclusion import Inclusion

RNG = np.random.default_rng(0)


def disc(modulus_ratio: float = 3.0, poisson: float = 0.495) -> Inclusion:
    return Inclusion(
        strain=1.0,
        centre_z_mm=12.0,
        centre_x_mm=8.0,
        radius_mm=2.0,
        modulus_ratio=modulus_ratio,
        poisson=poisson,
    )


def strain_inside(field: SlabField, lesion: Inclusion) -> float:
    z = lesion.centre_z_mm + np.array([-1.0, 1.0])
    dz, _ = field(z, np.full(2, lesion.centre_x_mm))
    return float(dz[0] - dz[1]) / 2


@pytest.fixture(scope="module")
def stiff() -> SlabField:
    """A stiff disc in the middle of a slab twelve radii deep and sixteen wide."""
    return compress(slab_with_disc(disc(), (12.0, 16.0)))


def one(z: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
    return np.ones_like(z)


@pytest.mark.parametrize("poisson", [0.0, 0.3, 0.495, 0.4999])
def test_a_uniform_slab_is_uniformly_compressed(poisson: float) -> None:
    slab = Slab(modulus=one, depth_mm=8, left_mm=-3, right_mm=11, cell_mm=1.1, poisson=poisson)
    z, x = RNG.uniform(0, 8, 500), RNG.uniform(-3, 11, 500)
    exact = Uniform(strain=1.0, lateral_ratio=poisson / (1 - poisson), centre_x_mm=4.0)
    np.testing.assert_allclose(compress(slab)(z, x), exact(z, x), atol=1e-9)


def test_layers_share_the_load_in_inverse_proportion_to_their_stiffness() -> None:
    """Without Poisson's effect the slab is a chain of springs."""

    def layers(z: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        return np.where(z < 4, 1.0, 3.0)

    slab = Slab(modulus=layers, depth_mm=8, left_mm=0, right_mm=4, cell_mm=1.0, poisson=0.0)
    dz, _ = compress(slab)(np.array([0.0, 2.0, 4.0, 6.0, 8.0]), np.full(5, 1.3))
    np.testing.assert_allclose(dz, [0, -3, -6, -7, -8], atol=1e-9)


def test_only_ratios_of_stiffness_matter() -> None:
    z, x = RNG.uniform(0, 4, (2, 50))

    def field(unit: float) -> tuple[Any, Any]:
        def modulus(z: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
            return unit * (1 + x / 4)

        return compress(Slab(modulus=modulus, depth_mm=4, left_mm=0, right_mm=4, cell_mm=0.7))(z, x)

    np.testing.assert_allclose(field(5e4), field(1.0), atol=1e-9)


@pytest.mark.parametrize(("modulus_ratio", "poisson"), [(3.0, 0.4999), (0.3, 0.495)])
def test_a_small_disc_strains_as_the_closed_form_says(modulus_ratio: float, poisson: float) -> None:
    """At .4999 elements that lock would be far too stiff."""
    lesion = disc(modulus_ratio, poisson)
    field = compress(slab_with_disc(lesion, (12.0, 16.0)))
    assert strain_inside(field, lesion) == pytest.approx(lesion.strain_inside, rel=0.04)


def test_round_a_small_disc_displacement_is_that_of_the_closed_form(stiff: SlabField) -> None:
    lesion = disc()
    z, x = np.meshgrid(np.linspace(8, 16, 41), np.linspace(4, 12, 41))
    ours, exact = np.stack(stiff(z, x)), np.stack(lesion(z, x))
    # Relative to the centre: how the plates share out the whole motion is not in the closed form.
    ours -= np.stack(stiff(np.array([[12.0]]), np.array([[8.0]])))
    exact -= np.stack(lesion(np.array([[12.0]]), np.array([[8.0]])))
    assert np.sqrt(np.mean((ours - exact) ** 2) / np.mean(exact**2)) < 0.03


def test_nearly_incompressible_tissue_keeps_its_volume(stiff: SlabField) -> None:
    z, x = RNG.uniform(4, 20, 400), RNG.uniform(0, 16, 400)
    h = 1e-5
    divergence = (stiff(z + h, x)[0] - stiff(z - h, x)[0] + stiff(z, x + h)[1] - stiff(z, x - h)[1]) / (2 * h)
    # (1 - 2ν) / (1 - ν) = .02 under the far load; the rim, where an element holds both materials, is less exact
    assert np.sqrt(np.mean(divergence**2)) < 0.03


def test_the_probe_and_the_floor_stay_flat(stiff: SlabField) -> None:
    x = np.linspace(-8, 24, 50)
    np.testing.assert_allclose(stiff(np.zeros(50), x)[0], 0, atol=1e-12)
    np.testing.assert_allclose(stiff(np.full(50, 24.0), x)[0], -24.0)
    assert stiff(np.zeros(1), np.array([8.0]))[1] == pytest.approx(0, abs=1e-12)


def test_the_field_is_continuous_and_goes_on_beyond_the_slab(stiff: SlabField) -> None:
    z, x = RNG.uniform(-2, 26, 300), RNG.uniform(-10, 26, 300)
    near = np.stack(stiff(z + 1e-7, x - 1e-7)) - np.stack(stiff(z, x))
    assert np.abs(near).max() < 1e-6
    np.testing.assert_allclose(stiff(-z, x)[0], -stiff(z, x)[0])
    np.testing.assert_allclose(stiff(-z, x)[1], stiff(z, x)[1])
    np.testing.assert_array_equal(
        stiff(np.array([30.0]), np.array([50.0])), stiff(*np.array([[24.0], [24.0]]))
    )


def test_torch_and_numpy_agree(stiff: SlabField) -> None:
    z, x = RNG.uniform(-1, 25, (2, 100))
    for ours, theirs in zip(stiff(z, x), stiff(torch.from_numpy(z), torch.from_numpy(x)), strict=True):
        np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-12)


def test_impossible_slabs_are_refused() -> None:
    with pytest.raises(OptionError, match="at most 20000"):
        Slab(modulus=one, depth_mm=100, left_mm=0, right_mm=100, cell_mm=0.1)
    with pytest.raises(ValueError, match="slab: got depth 100, x 0 to 0"):
        Slab(modulus=one, depth_mm=100, left_mm=0, right_mm=0, cell_mm=0.1)
    with pytest.raises(ValueError, match=r"below 0\.5"):
        Slab(modulus=one, depth_mm=1, left_mm=0, right_mm=1, cell_mm=0.1, poisson=0.5)
    with pytest.raises(ValueError, match=r"modulus: got values from 0\.0"):
        compress(Slab(modulus=lambda z, x: 0 * z, depth_mm=1, left_mm=0, right_mm=1, cell_mm=0.5))


def test_without_scikit_fem_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skfem", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'usert\[fem\]'"):
        compress(Slab(modulus=one, depth_mm=1, left_mm=0, right_mm=1, cell_mm=0.5))
