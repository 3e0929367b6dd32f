"""An elastic slab of any stiffness under the probe, by finite elements.

For maps that have no formula, and for what the closed form of `inclusion.py` leaves out: a rigid probe on the
surface and a rigid floor. The slab is in plane strain between two frictionless plates; the upper one, the probe, is
at rest at z = 0, the floor comes up to meet it. Biquadratic elements (Q2, nine nodes, fully integrated) on a regular
grid: up to a Poisson's ratio of .4999 they give the disc's strain as the closed form does, where bilinear ones lock.
scikit-fem (the extra `fem`) assembles; the result needs numpy only.

Knows nothing of scatterers or time. Invariant: a `SlabField` is the displacement of the elements themselves, not a
fit to it, so what moves the scatterers and what is written as truth are one function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from ..errors import OptionError, require
from .field import Array
from .inclusion import Inclusion

Modulus: TypeAlias = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[Any]]
"""Stiffness at the points (z, x) in mm; only its ratios matter."""

MOST_CELLS = 20_000
"""Elements a slab may have: some ten seconds on one core."""
CELLS_A_RADIUS = 6
"""Elements along the radius of a disc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slab:
    """The rectangle 0 ≤ z ≤ depth, left ≤ x ≤ right of tissue to press; its sides are free.

    Errors: `ValueError` for an impossible length or Poisson's ratio, `OptionError` for more than `MOST_CELLS` elements.
    """

    modulus: Modulus
    depth_mm: float
    left_mm: float
    right_mm: float
    cell_mm: float
    """Longest side of an element."""
    poisson: float = 0.495
    """Poisson's ratio everywhere."""

    def __post_init__(self) -> None:
        if not (self.depth_mm > 0 and self.right_mm > self.left_mm and self.cell_mm > 0):
            raise ValueError(
                f"slab: got depth {self.depth_mm}, x {self.left_mm} to {self.right_mm}, cells {self.cell_mm} mm,"
                " expected lengths above 0"
            )
        if not 0 <= self.poisson < 0.5:
            raise ValueError(f"poisson: got {self.poisson}, expected 0 or more, below 0.5")
        cells = self.cells[0] * self.cells[1]
        if cells > MOST_CELLS:
            raise OptionError(
                f"finite elements: a slab of {self.depth_mm:.3g} x {self.right_mm - self.left_mm:.3g} mm in cells"
                f" of {self.cell_mm:.2g} mm has {cells}, expected at most {MOST_CELLS}: use a squarer frame"
            )

    @property
    def cells(self) -> tuple[int, int]:
        """Number of elements along depth and across."""
        width = self.right_mm - self.left_mm
        return math.ceil(self.depth_mm / self.cell_mm), math.ceil(width / self.cell_mm)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlabField:
    """Displacement field of the slab, the probe at rest, for a mean axial strain of 1 (linear: scale it).

    Above the probe the field is mirrored, as if the plate were a plane of symmetry, which without friction it is;
    beyond the floor and the sides each point moves as the nearest one of the slab.
    """

    nodes: NDArray[np.float64]
    """(2, 2 P + 1, 2 Q + 1): dz and dx in mm at the nodes of P × Q elements."""
    depth_mm: float
    left_mm: float
    right_mm: float

    def __call__(self, z: Array, x: Array) -> tuple[Array, Array]:
        xp = array_namespace(z)
        width = self.nodes.shape[2]
        row, down = _locate(z * xp.sign(z) / self.depth_mm, self.nodes.shape[1])
        column, along = _locate((x - self.left_mm) / (self.right_mm - self.left_mm), width)
        corner = row * width + column
        flat = [xp.reshape(xp.asarray(part, dtype=z.dtype, device=device(z)), (-1,)) for part in self.nodes]
        dz, dx = 0 * z, 0 * x
        for i, weight_z in enumerate(_quadratics(down)):
            for j, weight_x in enumerate(_quadratics(along)):
                weight, index = weight_z * weight_x, corner + (i * width + j)
                dz, dx = dz + weight * flat[0][index], dx + weight * flat[1][index]
        return dz * xp.sign(z), dx


def compress(slab: Slab) -> SlabField:
    """The field of `slab` pressed to a mean strain of 1; the point under the middle of the probe does not slide.

    Errors: `ValueError` for a modulus that is not finite or not above 0, `MissingExtraError` without scikit-fem.
    """
    skfem = require("skfem", "fem")
    rows, columns = slab.cells
    mesh = skfem.MeshQuad.init_tensor(
        np.linspace(0, slab.depth_mm, rows + 1), np.linspace(slab.left_mm, slab.right_mm, columns + 1)
    )
    basis = skfem.Basis(mesh, skfem.ElementVector(skfem.ElementQuad2()))
    z, x = np.asarray(basis.global_coordinates())
    mu = np.asarray(slab.modulus(z, x), dtype=np.float64) * np.ones_like(z)
    if not (np.isfinite(mu).all() and mu.min() > 0):
        raise ValueError(f"modulus: got values from {mu.min()} to {mu.max()}, expected finite ones above 0")

    def work(u: Any, v: Any, w: Any) -> Any:
        """Hooke's law, plane strain: 2 μ ε(u):ε(v) + λ div u div v, λ = 2 μ ν / (1 - 2 ν)."""
        (uzz, uzx), (uxz, uxx) = u.grad
        (vzz, vzx), (vxz, vxx) = v.grad
        shape = uzz * vzz + uxx * vxx + (uzx + uxz) * (vzx + vxz) / 2
        volume = slab.poisson / (1 - 2 * slab.poisson) * (uzz + uxx) * (vzz + vxx)
        return 2 * w.mu * (shape + volume)

    stiffness = skfem.BilinearForm(work).assemble(basis, mu=mu / mu.mean())
    place = _dofs_on_grid(basis, slab)
    held = np.concatenate([place[0, 0], place[0, -1], [place[1, 0, columns]]])
    start = np.zeros(basis.N)
    start[place[0, -1]] = -slab.depth_mm
    solved = skfem.solve(*skfem.condense(stiffness, x=start, D=held), solver=_solve)
    return SlabField(
        nodes=solved[place], depth_mm=slab.depth_mm, left_mm=slab.left_mm, right_mm=slab.right_mm
    )


def slab_with_disc(lesion: Inclusion, size_mm: tuple[float, float]) -> Slab:
    """The slab with this disc, twice as deep and wide as the frame of `size_mm` (height, width) that shows it."""
    height, width = size_mm

    def modulus(z: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.hypot(z - lesion.centre_z_mm, x - lesion.centre_x_mm) < lesion.radius_mm
        return np.where(inside, lesion.modulus_ratio, 1.0)

    return Slab(
        modulus=modulus,
        depth_mm=2 * height,
        left_mm=-width / 2,
        right_mm=width * 3 / 2,
        cell_mm=lesion.radius_mm / CELLS_A_RADIUS,
        poisson=lesion.poisson,
    )


def _solve(matrix: Any, right: Any) -> Any:
    """A x = b for a positive definite matrix, which needs no pivoting; pivots would fill the factor in."""
    linalg = require("scipy.sparse.linalg", "fem")
    factor = linalg.splu(
        matrix.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return factor.solve(right)


def _dofs_on_grid(basis: Any, slab: Slab) -> NDArray[np.int64]:
    """(2, 2 P + 1, 2 Q + 1): the number of each node's axial and lateral unknown."""
    rows, columns = slab.cells
    place = np.empty((2, 2 * rows + 1, 2 * columns + 1), np.int64)
    for component, dofs in enumerate(basis.split_indices()):
        z, x = basis.doflocs[:, dofs]
        i = np.rint(z / slab.depth_mm * 2 * rows).astype(np.int64)
        j = np.rint((x - slab.left_mm) / (slab.right_mm - slab.left_mm) * 2 * columns).astype(np.int64)
        place[component, i, j] = dofs
    return place


def _locate(share: Array, nodes: int) -> tuple[Array, Array]:
    """First node of the element at `share` of the way, 0 to 1, and the place 0 to 1 within it."""
    xp = array_namespace(share)
    elements = (nodes - 1) // 2
    at = xp.clip(share, 0, 1) * elements
    element = xp.clip(xp.floor(at), 0, elements - 1)
    return xp.astype(2 * element, xp.int64), at - element


def _quadratics(t: Array) -> tuple[Array, Array, Array]:
    """Lagrange polynomials on the nodes 0, 1/2, 1."""
    return (1 - t) * (1 - 2 * t), 4 * t * (1 - t), t * (2 * t - 1)
