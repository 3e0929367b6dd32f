"""A library behind a gate, for bundles that take over from another; and the one line of a refusal."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest
from live import TIMEOUT_S, numbered_frame

from usert.bundle import Bundle
from usert.errors import EngineError, UsertError
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.server.bundle_swap import BundleSwap, PreparedBundle


class Opener:
    """ONNX Runtime behind a gate, which is open unless the test closes it; notes every engine that it opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.opened: list[Engine] = []

    def __call__(self, bundle: Bundle) -> Engine:
        self.entered.set()
        assert self.gate.wait(TIMEOUT_S)
        self.opened.append(open_engine(bundle, engine="onnxruntime", threads=1))
        return self.opened[-1]

    @property
    def closed(self) -> list[bool]:
        """Of each engine."""
        return [is_closed(engine) for engine in self.opened]


def is_closed(engine: Engine) -> bool:
    try:
        engine.run(numbered_frame(1).samples, numbered_frame(2).samples)
    except EngineError as error:
        return str(error).endswith("is closed")
    return False


def refusal(change: BundleSwap, future: Future[PreparedBundle]) -> str:
    """The one line, which the future and `take` say alike, the latter once."""
    error = future.exception(TIMEOUT_S)
    assert isinstance(error, UsertError)
    with pytest.raises(type(error)) as taken:
        change.take()
    assert str(taken.value) == str(error)
    assert "\n" not in str(error)
    assert change.take() is None
    return str(error)
