"""Pages that live elsewhere in the repository, and links that lead out of the documentation.

There is one copy of each text, beside what it is about; the site shows it as a page. Knows paths and Markdown's
links. Invariant: a link of a page leads to a page, or is plain text; to a file that is not there it stays, so that
MkDocs complains of it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "measurements.md": "benchmarks/RESULTS.md",
    "model-card.md": "usert/bundles/default/MODEL_CARD.md",
    "model-card-small.md": "usert/bundles/small/MODEL_CARD.md",
}
"""Pages of the site, and the files that they are."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Called by MkDocs: links as they are in the repository → links of the site."""
    source = PAGES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return relinked(markdown, source)


def relinked(markdown: str, source: str) -> str:
    """`markdown` of the file `source`, a path from the root, with links for a page of the site."""

    def replace(match: re.Match[str]) -> str:
        mark, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        page = next((name for name, file in PAGES.items() if file == path), None)
        if page is None and path.startswith("docs/"):
            page = path.removeprefix("docs/")
        if page is not None:
            return f"{mark}[{text}]({page}{anchor})"
        there = (ROOT / path).exists() and not path.startswith("..")
        return text if there else match[0]

    return _LINK.sub(replace, markdown)
