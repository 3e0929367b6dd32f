"""The check of a recipe's values."""

from __future__ import annotations

from functools import partial

from usert.errors import RecipeError, expect

check = partial(expect, error=RecipeError)
"""`expect` with the error of recipes."""
