"""The compilers of the senders in C and C++, where this machine has what they need."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest

_NEEDED = {"c": ("cc", "c", "zmq.h"), "cpp": ("c++", "c++", "zmq.hpp")}


@cache
def _missing(language: str) -> str:
    compiler, name, header = _NEEDED[language]
    if shutil.which(compiler) is None:
        return compiler
    command = (compiler, "-x", name, "-fsyntax-only", "-")
    done = subprocess.run(command, input=f"#include <{header}>", capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else header


def compiler(language: str) -> str:
    """The command that compiles `c` or `cpp`; skips the test where it or ZeroMQ's header is not there."""
    if missing := _missing(language):
        pytest.skip(f"no {missing}: apt-get install g++ libzmq3-dev cppzmq-dev")
    return _NEEDED[language][0]
