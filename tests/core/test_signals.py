"""Signals become `stop()`."""

from __future__ import annotations

import signal

import pytest

from usert.signals import stop_on_signals


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
