"""A folder of PNGs, one a pair.

Knows Pillow. Invariant: names sort as the pairs do.
"""

from __future__ import annotations

from pathlib import Path

from .pages import Pages


def write_pictures(folder: Path, pages: Pages) -> None:
    """Make `folder` and fill it."""
    folder.mkdir()
    for index, page in enumerate(pages):
        page.save(folder / f"{pages.name(index)}.png", format="PNG")
