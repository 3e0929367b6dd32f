"""The address that the page is served at, and the URL that a person opens.

Invariant: an address is on loopback, or `Address.open` is true.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from typing import Self

from usert.errors import OptionError

_ADDRESS = re.compile(r"(?P<host>\[[^\]\s]+\]|[^:\s\[\]/]+):(?P<port>\d{1,5})")
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
        """Parse `HOST:PORT`. Errors: `OptionError`."""
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match["port"]) > 0xFFFF:
            raise OptionError(f"--http: got {text!r}, expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:0")
        return cls(host=match["host"].strip("[]"), port=int(match["port"]))

    @property
    def open(self) -> bool:
        """Whether other machines can reach this address."""
        return not is_loopback(self.host)

    def listen(self) -> socket.socket:
        """A listening socket at this address. Errors: `OptionError`."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            return socket.create_server(address, family=family, backlog=_QUEUE_CONNECTIONS)
        except (OSError, UnicodeError) as error:
            number = error.errno if isinstance(error, OSError) else None
            reason = os.strerror(number) if number and number > 0 else str(error)
            raise OptionError(f"--http {self.host}:{self.port}: cannot bind: {reason}") from error

    def url(self, port: int, *, encrypted: bool) -> str:
        """The URL to open in a browser; `port`: the port that is really bound."""
        host = self.host
        if host in ("0.0.0.0", "::"):
            host = _own_address() or socket.gethostname()
        shown = f"[{host}]" if ":" in host else host
        return f"http{'s' if encrypted else ''}://{shown}:{port}/"


def is_loopback(host: str) -> bool:
    """Whether `host`, without brackets, is a loopback name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_address() -> str:
    """The address by which others reach this machine; empty without a network."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_ELSEWHERE)
            return str(probe.getsockname()[0])
    except OSError:
        return ""
