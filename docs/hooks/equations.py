"""Equations as MathML, which browsers draw by themselves: nothing is fetched, no script runs.

A block is a fence of the kind `math`, inside a line it is $`…`$: so the repository's host draws them, too. Knows LaTeX
by way of latex2mathml. Invariant: what is no equation passes unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

_BLOCK = re.compile(r"^```math\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"\$`([^`]+)`\$")
_TAG = re.compile(r"\\tag\{([^}]+)\}")
_PLACE = re.compile(r"<p>equation-block-(\d+)</p>|equation-(\d+)-")
_drawn: list[str] = []
"""MathML of all pages so far; the text holds numbers until Markdown, which would mend it, is done with it."""


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Called by MkDocs: equations → placeholders."""
    markdown = _BLOCK.sub(_keep("block", "\nequation-block-{}\n"), markdown)
    return _INLINE.sub(_keep("inline", "equation-{}-"), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Called by MkDocs: placeholders → MathML."""
    return _PLACE.sub(lambda match: _drawn[int(match[1] or match[2])], html)


def _keep(display: str, place: str) -> Callable[[re.Match[str]], str]:
    def keep(match: re.Match[str]) -> str:
        latex = match[1].strip()
        drawn = convert(_TAG.sub("", latex), display=display)
        if display == "block":
            number = "".join(f"<span>({tag})</span>" for tag in _TAG.findall(latex))
            drawn = f'<div class="equation">{drawn}{number}</div>'
        _drawn.append(drawn)
        return place.format(len(_drawn) - 1)

    return keep
