"""Options of pytest for a sender that is checked, and the fixture that listens to it once.

pytest loads this by itself where usert is installed; it imports nothing heavy until a sender is checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .check import Report

_ABSENT = "no --usert-rf: the endpoint of a running sender, such as tcp://127.0.0.1:5555"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, those of `usert check-sender`."""
    group = parser.getgroup("usert", "conformance of a sender of ultrasound frames")
    group.addoption("--usert-rf", metavar="ENDPOINT", help="endpoint of a running sender of RF or IQ frames")
    group.addoption("--usert-rf-type", default="sub", metavar="sub|pull", help="socket towards it")
    group.addoption("--usert-rf-bind", action="store_true", help="bind, for a sender that connects")
    group.addoption("--usert-key", metavar="SECRET", help="secret key of this side")
    group.addoption("--usert-allow", metavar="DIR", help="with --usert-rf-bind: public keys that may connect")
    group.addoption(
        "--usert-server-key", metavar="PUBLIC", help="public key of the sender, the only one accepted"
    )
    group.addoption(
        "--usert-insecure", action="store_true", help="allow an endpoint on another machine without keys"
    )
    group.addoption("--usert-seconds", type=float, default=10.0, metavar="S", help="listen so long at most")
    group.addoption("--usert-frames", type=int, default=200, metavar="N", help="end after so many messages")


@pytest.fixture(scope="session")
def usert_sender_report(pytestconfig: pytest.Config) -> Report:
    """The report on the sender at `--usert-rf`; its tests are skipped without."""
    endpoint = pytestconfig.getoption("--usert-rf")
    if endpoint is None:
        pytest.skip(_ABSENT)
    from usert.commands.keys import source_keys
    from usert.errors import UsertError

    from .listen import ListenConfig, SenderListener

    binds = pytestconfig.getoption("--usert-rf-bind")
    key, allow, server = (
        None if (given := pytestconfig.getoption(f"--usert-{name}")) is None else Path(given)
        for name in ("key", "allow", "server-key")
    )
    try:
        keys = source_keys(
            binds=binds,
            key=key,
            allow=allow,
            server=server,
            options=("--usert-allow", "--usert-server-key"),
            own="--usert-key",
        )
        config = ListenConfig(
            rf=endpoint,
            rf_type=pytestconfig.getoption("--usert-rf-type"),
            rf_bind=binds,
            seconds=pytestconfig.getoption("--usert-seconds"),
            messages=pytestconfig.getoption("--usert-frames"),
            keys=keys,
            insecure=pytestconfig.getoption("--usert-insecure"),
        )
        with SenderListener(config) as listener:
            return listener.run()
    except UsertError as error:
        pytest.fail(str(error), pytrace=False)
