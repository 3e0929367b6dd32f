"""The programs of this folder, run for a moment, end as they should; `-m slow` for all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SHORT = {
    "faults": "--faults rf-closed,engine",
    "fuzz": "--messages 800 --connections 200",
    "fuzz-readers": "--files 20 --readers numpy,mat",
    "overload": "--minutes 0.1 --sockets push -- --threads 1",
    "senders": "--faults half-killed,mess-half",
    "soak": "--minutes 0.05 -- --threads 1",
}


def load(*words: str) -> str:
    """What `python tests/load` prints."""
    command = [sys.executable, FOLDER, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_is_named_in_the_help() -> None:
    told = load("--help")
    assert {name for name in SHORT if name in told} == set(SHORT)


@pytest.mark.parametrize(
    "program", [pytest.param(name, marks=[pytest.mark.slow] if name != "soak" else []) for name in SHORT]
)
def test_a_program_runs_for_a_moment(program: str) -> None:
    assert json.loads(load(program, *SHORT[program].split()).splitlines()[-1])["load"] == program
