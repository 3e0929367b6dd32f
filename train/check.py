"""The check of a recipe's values, with one form of message for all."""

from __future__ import annotations

from usert.errors import RecipeError


def check(holds: bool, what: str, got: object, expected: str) -> None:
    """Raise `RecipeError` unless `holds`, with the key `what`, the value `got` and the range `expected`."""
    if not holds:
        raise RecipeError(f"{what}: got {got}, expected {expected}")
