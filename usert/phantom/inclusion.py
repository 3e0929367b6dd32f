"""The plane elastic field round a disc that is stiffer or softer than its surroundings.

An infinite plate under uniaxial load with a bonded circular inclusion has a closed solution by the complex
potentials of Kolosov and Muskhelishvili (N. I. Muskhelishvili, Some Basic Problems of the Mathematical Theory of
Elasticity, 1953). With w = (z - zc) + i (x - xc), the load along z, modulus ratio m = μ_in / μ_out and κ = 3 - 4ν:

    2 μ D = κ φ - w conj(φ') - conj(ψ),   D = dz + i dx
    outside   φ = w + β a²/w,   ψ = -2 (w + γ a²/w + δ a⁴/w³)
    inside    φ = β₀ w,         ψ = -2 δ₀ w

in units of a quarter of the load. Equal displacement and traction on |w| = a give the five constants below. Inside
the strain is uniform (Eshelby); for incompressible tissue (κ = 1) it is 2 / (1 + m) times the strain far away.

The point of the surface above the disc's centre is held; the rest of the surface may bulge a little, where a rigid
probe would keep it flat (`fem.py`). Knows nothing of scatterers or time. Invariant: displacement and traction are
continuous across the rim.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace, device

from .field import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """Displacement of a plate with one disc under axial compression, held at the probe."""

    strain: float
    """Axial strain far away, compression positive."""
    centre_z_mm: float
    centre_x_mm: float
    radius_mm: float
    modulus_ratio: float
    """Stiffness of the disc over that of its surroundings: above 1 is a hard lesion."""
    poisson: float = 0.495
    """Poisson's ratio of both materials; soft tissue is nearly incompressible."""

    @property
    def strain_inside(self) -> float:
        """Axial strain in the disc, uniform, a fraction, compression positive."""
        _, _, beta0, delta0 = self._constants()
        kappa = 3 - 4 * self.poisson
        return self.strain / (kappa + 1) / self.modulus_ratio * (beta0 * (kappa - 1) + 2 * delta0)

    def _constants(self) -> tuple[float, float, float, float]:
        kappa, m = 3 - 4 * self.poisson, self.modulus_ratio
        beta = 2 * (1 - m) / (1 + m * kappa)
        gamma = (kappa - 1) * (1 - m) / (2 * m + kappa - 1)
        return beta, gamma, 1 - gamma, (2 - beta) / 2

    def _displacement(self, w: Array) -> Array:
        xp = array_namespace(w)
        beta, gamma, beta0, delta0 = self._constants()
        kappa, a2 = 3 - 4 * self.poisson, self.radius_mm**2
        inside = xp.abs(w) < self.radius_mm
        safe = xp.where(inside, xp.ones_like(w) * self.radius_mm, w)
        inverse = a2 / safe
        phi = w + beta * inverse
        slope = 1 - beta * inverse / safe
        psi = -2 * (w + gamma * inverse - beta / 2 * inverse * inverse / safe)
        outer = kappa * phi - w * xp.conj(slope) - xp.conj(psi)
        inner = (beta0 * (kappa - 1) * w + 2 * delta0 * xp.conj(w)) / self.modulus_ratio
        return -self.strain / (kappa + 1) * xp.where(inside, inner, outer)

    def __call__(self, z: Array, x: Array) -> tuple[Array, Array]:
        xp = array_namespace(z)
        moved = self._displacement((z - self.centre_z_mm) + 1j * (x - self.centre_x_mm))
        surface = xp.zeros((1,), dtype=z.dtype, device=device(z)) - self.centre_z_mm
        held = self._displacement(surface + 0j)
        return xp.real(moved) - xp.real(held)[0], xp.imag(moved)
