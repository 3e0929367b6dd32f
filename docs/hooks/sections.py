"""Sections of one text shown inside a page of another: measured tables have one source, `benchmarks/RESULTS.md`.

In a page stands, on a line of its own:

    <!-- section: benchmarks/RESULTS.md: DATE, WHAT > ACCURACY > PAIRS -->

and is replaced by what stands there under that heading, up to the next heading of any level. Knows headings.
Invariant: a heading that is not there, or there twice, ends the build.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_MARK = re.compile(r"^<!-- section: ([^:\n]+): (.+?) -->$", flags=re.MULTILINE)
_HEADING = re.compile(r"^(#{2,6}) (.+)$", flags=re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Called by MkDocs."""
    return filled(markdown)


def filled(markdown: str) -> str:
    """`markdown` with every mark replaced by its section. Errors: `PluginError` for one that is not there."""

    def replace(match: re.Match[str]) -> str:
        file, wanted = match[1], match[2]
        found = [body for path, body in sections((ROOT / file).read_text(encoding="utf-8")) if path == wanted]
        if len(found) != 1:
            raise PluginError(f"{file}: {len(found)} sections {wanted!r}, expected one")
        return found[0]

    return _MARK.sub(replace, markdown)


def sections(text: str) -> list[tuple[str, str]]:
    """Each heading with those above it, such as `A > B`, and what stands between it and the next."""
    above: list[tuple[int, str]] = []
    found = []
    headings = list(_HEADING.finditer(text))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        level = len(heading[1])
        above = [(depth, title) for depth, title in above if depth < level] + [(level, heading[2].strip())]
        body = text[heading.end() : following.start() if following else len(text)].strip("\n")
        found.append((" > ".join(title for _, title in above), body))
    return found
