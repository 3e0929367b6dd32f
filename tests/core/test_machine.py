"""What the machine is called."""

from __future__ import annotations

import sys

import pytest

from usert.machine import cpu_name, gpu_name, usable_cores


def test_the_cpu_has_a_name_of_one_line() -> None:
    assert cpu_name()
    assert "\n" not in cpu_name()


def test_no_gpu_without_what_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_name() is None


def test_a_gpu_is_named_with_its_capability_or_not_at_all() -> None:
    name = gpu_name()
    assert name is None or "(sm_" in name


def test_at_least_one_core() -> None:
    assert usable_cores() >= 1
