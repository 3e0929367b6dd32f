"""Signals become `stop()`."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from usert.signals import ended_by_ctrl_c, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_calls_stop_each_time_and_the_old_handlers_come_back(number: signal.Signals) -> None:
    old = signal.getsignal(number)
    calls: list[int] = []
    with stop_on_signals(lambda: calls.append(1)):
        signal.raise_signal(number)
        signal.raise_signal(number)
    assert calls == [1, 1]
    assert signal.getsignal(number) is old


def test_handlers_come_back_after_an_error() -> None:
    old = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), stop_on_signals(lambda: None):
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is old


STUCK = """
import os, threading
from usert.signals import stop_on_signals

with stop_on_signals(lambda: os.write(1, b"stop\\n"), insist=True):
    print("runs", flush=True)
    while True:
        threading.Event().wait(1)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_insists_ends_what_does_not_stop(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "runs\n"
            process.send_signal(number)
            assert process.stdout.readline() == "stop\n"
            while process.poll() is None:
                process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
            assert process.returncode == 128 + number
        finally:
            process.kill()


AT_WORK = """
import hashlib
from usert.signals import ended_by_ctrl_c

with ended_by_ctrl_c():
    print("runs", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


def test_ctrl_c_ends_a_library_at_work() -> None:
    with subprocess.Popen([sys.executable, "-c", AT_WORK], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "runs\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == -signal.SIGINT
        finally:
            process.kill()


def test_ctrl_c_is_an_exception_again_afterwards() -> None:
    old = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), ended_by_ctrl_c():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is old
