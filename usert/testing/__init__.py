"""A conformance suite that senders, readers of file formats and engines of others run against themselves.

`pytest --pyargs usert.testing --usert-rf tcp://127.0.0.1:5555` checks a running sender, as `usert check-sender` does
without pytest. `ReaderContract` and `EngineContract` are classes of tests: derive a class of your own, and override the
fixture that makes what is tested. Importing this loads neither pytest nor ZeroMQ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import AccurateEngineContract, EngineContract
    from .reader import MadeFile, ReaderContract

__all__ = ["AccurateEngineContract", "EngineContract", "MadeFile", "ReaderContract"]
_MODULES = {
    "AccurateEngineContract": "engine",
    "EngineContract": "engine",
    "MadeFile": "reader",
    "ReaderContract": "reader",
}


def __getattr__(name: str) -> Any:
    """Import a contract when it is first used, with assertions that pytest explains."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    import pytest

    module = f"{__name__}.{_MODULES[name]}"
    pytest.register_assert_rewrite(module)
    return getattr(import_module(module), name)
