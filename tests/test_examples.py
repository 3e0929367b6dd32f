"""The examples in the docstrings of what people import run as they are printed."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    ("module", "examples"),
    [
        ("usert", 1),
        ("usert.recording.reader", 1),
        ("usert.runtime.clients.frame_sender", 1),
        ("usert.runtime.clients.strain_client", 1),
        ("usert.train.finetune.unsupervised", 1),
    ],
)
def test_the_examples_run(module: str, examples: int) -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for test in finder.find(importlib.import_module(module)) if test.examples]
    assert len(found) == examples
    runner = doctest.DocTestRunner()
    for test in found:
        assert runner.run(test).failed == 0, test.name
