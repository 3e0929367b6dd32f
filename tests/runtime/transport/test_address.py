"""Endpoints that are one place are known for that, however they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from usert.errors import OptionError
from usert.runtime.server.config import ServerConfig
from usert.runtime.transport.address import check_endpoint, same_endpoint


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555", True),
        ("tcp://127.0.0.1:5555", "tcp://localhost:5555", True),
        ("tcp://*:5555", "tcp://localhost:5555", True),
        ("tcp://0.0.0.0:5555", "tcp://*:5555", True),
        ("tcp://[::1]:5555", "tcp://[::]:5555", True),
        ("tcp://Scanner:5555", "tcp://scanner:5555", True),
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556", False),
        ("tcp://*:5555", "tcp://scanner:5555", False),
        ("tcp://192.168.0.2:5555", "tcp://127.0.0.1:5555", False),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0", False),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", False),
        ("ipc:///tmp/a", "ipc:///tmp/./a", True),
        ("ipc://@a", "ipc://@a", True),
        ("ipc://@a", "ipc://a", False),
        ("ipc:///tmp/a", "ipc:///tmp/b", False),
        ("ipc:///tmp/a", "tcp://127.0.0.1:5555", False),
    ],
)
def test_endpoints_are_compared_by_the_place_they_name(one: str, other: str, same: bool) -> None:
    assert same_endpoint(one, other) is same_endpoint(other, one) is same


def test_a_port_has_16_bits() -> None:
    assert check_endpoint("tcp://127.0.0.1:65535", insecure=False) == "tcp://127.0.0.1:65535"
    with pytest.raises(
        OptionError, match=r"endpoint: got 'tcp://127\.0\.0\.1:65536', expected tcp://HOST:PORT"
    ):
        check_endpoint("tcp://127.0.0.1:65536", insecure=False)


def test_a_file_by_way_of_a_link_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert same_endpoint(f"ipc://{tmp_path}/a", f"ipc://{tmp_path}/link/a")


def test_a_server_has_each_endpoint_once() -> None:
    here, again = "tcp://127.0.0.1:5555", "tcp://localhost:5555"
    for option, first, fields in (
        ("rf", "rf", {"rf": (here, again), "publish": "tcp://127.0.0.1:1"}),
        ("publish", "rf", {"rf": here, "publish": again}),
        ("control", "publish", {"rf": "tcp://127.0.0.1:1", "publish": here, "control": again}),
    ):
        with pytest.raises(OptionError, match=f"^{option}: got {again}, the same endpoint as {first} {here}"):
            ServerConfig(**fields)  # type: ignore[arg-type]
    ServerConfig(rf="tcp://127.0.0.1:0", publish="tcp://127.0.0.1:0", control="tcp://127.0.0.1:0")
