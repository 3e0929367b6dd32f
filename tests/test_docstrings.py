"""Docstrings of public names stand alone where an editor shows them. Read as syntax: nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
Outer = ast.Module | ast.ClassDef
Function = ast.FunctionDef | ast.AsyncFunctionDef

NO_DOCSTRINGS = {"ABC", "Exception", "Generic", "NamedTuple", "Protocol"}
"""Bases that hand no docstring of a method down."""
BEGINNING = re.compile(r"[A-ZΑ-Ω`(|]|\w+'s ")
"""A capital, an identifier or formula, a shape, or a maker in its own spelling."""
FRAGMENT = re.compile(r"(As|Errors|Likewise|Of|Raises|Same)\b")
"""Words with which no sentence or noun phrase begins."""
OTHER_ERRORS = re.compile(r"`UsertError`|Errors: (all|as|those)\b")
"""Names of errors that stand for several."""
SAME_ERRORS = re.compile(r"usert/commands/|usert/formats/.* (read|about)_\w+$")
"""Commands, whose errors `usert.cli` reports, and readers of formats, which raise what `read_frames` states."""


class Public(NamedTuple):
    """A public name, where it stands, and the class that it belongs to."""

    where: str
    node: Outer | Function
    owner: ast.ClassDef | None

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.node) or ""

    @property
    def summary(self) -> str:
        return self.docstring.split("\n\n")[0]


def inside(outer: Outer, path: str) -> Iterator[Public]:
    """The public classes, functions and methods in a module or a class."""
    owner = outer if isinstance(outer, ast.ClassDef) else None
    for node in outer.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            name = node.name if owner is None else f"{owner.name}.{node.name}"
            yield Public(f"{path}:{node.lineno} {name}", node, owner)
            if isinstance(node, ast.ClassDef):
                yield from inside(node, path)


def public_names() -> Iterator[Public]:
    for stage in ("usert", "train", "export", "runtime"):
        for file in sorted((ROOT / stage).rglob("*.py")):
            if not any(folder.is_symlink() for folder in file.parents):
                path, module = str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))
                yield Public(path, module, None)
                yield from inside(module, path)


NAMES = tuple(public_names())
ERRORS = {
    node.name
    for node in ast.parse((ROOT / "usert" / "errors.py").read_text()).body
    if isinstance(node, ast.ClassDef)
}


def bases(owner: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).partition("[")[0] for base in owner.bases}


PROMISED = {
    name.node.name
    for name in NAMES
    if name.owner and "Protocol" in bases(name.owner) and name.docstring and isinstance(name.node, Function)
}
"""Methods that a protocol documents for all classes that have them."""


def documented_elsewhere(name: Public) -> bool:
    """Whether a method has its docstring from a base class or a protocol, or is an attribute of a protocol."""
    if name.owner is None or not isinstance(name.node, Function):
        return False
    stub = ast.unparse(name.node.body[-1]) == "..."
    return stub or name.node.name in PROMISED or bool(bases(name.owner) - NO_DOCSTRINGS)


def own_errors(body: list[ast.stmt]) -> set[str]:
    """The errors of usert that statements raise by name, nested functions left out."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ClassDef | Function | ast.Lambda):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func))
        waiting += ast.iter_child_nodes(node)
    return found & ERRORS


def test_every_public_name_has_a_docstring() -> None:
    assert len(NAMES) > 1000
    missing = [name.where for name in NAMES if not name.docstring and not documented_elsewhere(name)]
    assert not missing


def test_every_docstring_begins_with_a_sentence_or_a_noun_phrase() -> None:
    spoilt = [
        (name.where, name.summary)
        for name in NAMES
        if name.docstring
        and (
            not BEGINNING.match(name.summary)
            or FRAGMENT.match(name.summary)
            or name.summary[-1] not in ".:?"
            or len(name.summary.split()) < 3
        )
    ]
    assert not spoilt


def test_a_function_names_the_errors_that_it_raises() -> None:
    silent = []
    for name in NAMES:
        if not isinstance(name.node, Function) or SAME_ERRORS.match(name.where) or not name.docstring:
            continue
        told = name.docstring + (ast.get_docstring(name.owner) or "" if name.owner else "")
        if not OTHER_ERRORS.search(told):
            silent += [(name.where, error) for error in own_errors(name.node.body) if error not in told]
    assert not silent
