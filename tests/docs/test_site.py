"""The documentation as a site: it builds without a warning, fetches nothing, and says what the sources say."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from usert.cli import app

pytest.importorskip("material", reason="the site needs the extra docs")

ROOT = Path(__file__).parents[2]
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Attributes that a browser fetches by itself, by tag."""


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


class Page(HTMLParser):
    """What a browser would fetch for a page, the ids in it, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        target = found.get(FETCHED.get(tag, ""))
        if target and found.get("rel") not in ("canonical", "next", "prev"):
            self.fetched.append(target)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for path in pages:
        page = Page(path)
        assert page.fetched
        assert not [target for target in page.fetched if re.match(r"(\w+:)?//", target)], path
        assert 'class="mermaid"' not in path.read_text(encoding="utf-8")  # its script would come from a CDN
        assert "Not a medical device. For research." in page.text
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        assert not re.search(r"url\(['\"]?(\w+:)?//|@import", style.read_text(encoding="utf-8")), style


def commands(command: Any, name: str = "usert") -> Iterator[tuple[str, Any]]:
    for word, inner in command.commands.items():
        full = f"{name} {word}"
        if hasattr(inner, "commands"):
            yield from commands(inner, full)
        else:
            yield full, inner


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    page = Page(site / "cli.html")
    squeezed = "".join(page.text.split())
    for name, command in commands(typer.main.get_command(app)):
        assert name.replace(" ", "-") in page.ids
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            assert parameter.opts[0] in page.text or parameter.param_type_name == "argument", name
            assert "".join((parameter.help or "").replace("`", "").split()) in squeezed, (
                name,
                parameter.name,
            )


def test_equations_are_drawn(site: Path) -> None:
    source = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    written = len(re.findall(r"^```math$", source, re.M)) + len(re.findall(r"\$`[^`]+`\$", source))
    html = (site / "method.html").read_text(encoding="utf-8")
    drawn = re.findall(r"<math.*?</math>", html, re.DOTALL)
    assert len(drawn) == written > 20
    assert not [one for one in drawn if "\\" in one], "LaTeX that was not understood"
    assert not re.search(r"equation-(block-)?\d", html)


def test_measured_tables_are_those_of_the_results(site: Path) -> None:
    marks = re.findall(r"<!-- section: ", (ROOT / "docs" / "results.md").read_text(encoding="utf-8"))
    html = (site / "results.html").read_text(encoding="utf-8")
    assert len(marks) > 8
    assert "<!-- section" not in html
    results = hook("sections").sections((ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8"))
    for end in ("Overload", "graph > Time"):
        bodies = [body for path, body in results if path.endswith(end)]
        assert bodies, end
        for body in bodies:
            row = [cell.strip() for cell in body.strip().splitlines() if cell.startswith("|")][-1]
            wanted = re.escape(row.strip("| ").split(" | ")[-1])
            assert re.search(rf"<td[^>]*>{wanted}</td>", html), row


def test_a_section_that_is_not_there_ends_the_build() -> None:
    from mkdocs.exceptions import PluginError

    sections = hook("sections")
    assert sections.sections("# T\n## A\na\n### B\nb\n\n    code\n## C\n") == [
        ("A", "a"), ("A > B", "b\n\n    code"), ("C", ""),
    ]  # fmt: skip
    with pytest.raises(PluginError, match="0 sections 'No such date > Accuracy', expected one"):
        sections.filled("<!-- section: benchmarks/RESULTS.md: No such date > Accuracy -->")


def test_every_package_of_an_image_has_a_row(site: Path) -> None:
    html = (site / "licences.html").read_text(encoding="utf-8")
    assert "<!-- licences" not in html
    paths = sorted((ROOT / "docker" / "sbom").glob("*.json"))
    assert paths
    for path in paths:
        for one in json.loads(path.read_text(encoding="utf-8"))["components"]:
            assert re.search(rf"<td>{one['name'].lower()}</td>\s*<td>{re.escape(one['version'])}</td>", html)


def test_licences_as_they_are_declared() -> None:
    declared = [
        {"licenses": [{"license": {"id": "MIT"}}]},
        {"licenses": [{"expression": "Apache-2.0 OR BSD-2-Clause", "acknowledgement": "declared"}]},
        {"licenses": [{"license": {"name": "License :: OSI Approved :: Apache Software License"}}]},
        {"licenses": [{"license": {"id": "PSF-2.0"}}, {"license": {"id": "Python-2.0"}}]},
        {},
    ]
    assert [hook("licences").licences(one) for one in declared] == [
        "MIT",
        "Apache-2.0 OR BSD-2-Clause",
        "Apache Software License",
        "PSF-2.0, Python-2.0",
        "not by classifier or SPDX",
    ]


@pytest.mark.parametrize(
    ("link", "source", "becomes"),
    [
        ("[a](docs/scanners.md)", "CONTRIBUTING.md", "[a](scanners.md)"),
        ("[a](../CONTRIBUTING.md#house-style)", "docs/index.md", "[a](contributing.md#house-style)"),
        ("[a](method.md#strain)", "docs/index.md", "[a](method.md#strain)"),
        ("[a](../train/losses.py)", "docs/index.md", "[a](../train/losses.py)"),
        ("[a](../usert/cli.py)", "docs/index.md", "a"),
        ("[a](https://zeromq.org)", "docs/index.md", "[a](https://zeromq.org)"),
        ("![a](images/demo.png)", "docs/index.md", "![a](images/demo.png)"),
    ],
)
def test_links_lead_to_pages(link: str, source: str, becomes: str) -> None:
    assert hook("elsewhere").relinked(link, source) == becomes
