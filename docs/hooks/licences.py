"""Packages of an image with their licences, as a table of a page: the one source is the image's list, `docker/sbom/`.

In a page stands, on a line of its own: `<!-- licences: docker/sbom/IMAGE.json -->`. Knows of CycloneDX' JSON what
a component is called and what licences it declares. Invariant: every component of the list is a row.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_MARK = re.compile(r"^<!-- licences: (\S+) -->$", flags=re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Called by MkDocs."""
    return _MARK.sub(lambda mark: table(json.loads((ROOT / mark[1]).read_text(encoding="utf-8"))), markdown)


def table(sbom: dict[str, Any]) -> str:
    """In Markdown, by licence, then by name."""
    found = sorted((licences(one), one["name"].lower(), one["version"]) for one in sbom["components"])
    rows = [f"| {name} | {version} | {licence} |" for licence, name, version in found]
    return "\n".join(["| package | version | licence |", "|---|---|---|", *rows])


def licences(component: dict[str, Any]) -> str:
    """What a component declares: identifiers and expressions of SPDX, and what its author wrote in their place."""
    found = []
    for one in component.get("licenses", []):
        said = one.get("expression") or one["license"].get("id") or one["license"]["name"]
        found.append(said.removeprefix("License :: ").removeprefix("OSI Approved :: "))
    return ", ".join(dict.fromkeys(found)) or "not by classifier or SPDX"
