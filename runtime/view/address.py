"""The address at which the page is served, and its URL as a person types it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Self

from ..transport.address import is_loopback, listen, parse_address

_QUEUE_CONNECTIONS = 128
_ELSEWHERE = "192.0.2.1", 9
"""An address reserved for documentation (RFC 5737): nothing is sent there, the system only names the route to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host and a port; port 0 is any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address written as `HOST:PORT`. Errors: `OptionError`."""
        host, port = parse_address(text, name="--http")
        return cls(host=host, port=port)

    @property
    def open(self) -> bool:
        """Whether other machines can reach this address."""
        return not is_loopback(self.host)

    def listen(self) -> socket.socket:
        """A listening socket at this address. Errors: `OptionError`."""
        name = f"--http {self.host}:{self.port}"
        return listen(self.host, self.port, name=name, backlog=_QUEUE_CONNECTIONS)

    def url(self, port: int, *, encrypted: bool) -> str:
        """The URL of the page for a browser; `port`: the one that was bound."""
        host = self.host
        if host in ("0.0.0.0", "::"):
            host = _own_address() or socket.gethostname()
        shown = f"[{host}]" if ":" in host else host
        return f"http{'s' if encrypted else ''}://{shown}:{port}/"


def _own_address() -> str:
    """The address by which other machines reach this one, as far as it knows; empty without a network."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_ELSEWHERE)
            return str(probe.getsockname()[0])
    except OSError:
        return ""
