"""How a recipe refuses a value: one sentence, everywhere the same."""

from __future__ import annotations

from usert.errors import RecipeError


def check(holds: bool, what: str, got: object, expected: str) -> None:
    """Raise `RecipeError` for the key `what` unless `holds`."""
    if not holds:
        raise RecipeError(f"{what}: got {got}, expected {expected}")
