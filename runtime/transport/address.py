"""Addresses of sockets: how they are written, and which of them other machines can reach.

Invariant: an address that passed its check is on loopback or a local file, or its socket has keys, or the user gave
`--insecure`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket

from usert.errors import OptionError

_TCP = re.compile(r"tcp://(?P<host>\[[^\]\s]+\]|[^:;\s\[\]]+):(?P<port>\d{1,5}|\*)")
_IPC = re.compile(r"ipc://\S+")
_HOST_PORT = re.compile(r"(?P<host>\[[^\]\s]+\]|[^:\s\[\]/]+):(?P<port>\d{1,5})")


def is_loopback(host: str) -> bool:
    """Whether `host`, written without brackets, can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_loopback(host: str, fault: str, *, insecure: bool) -> None:
    """Check that only this machine can reach `host`, unless `insecure`.

    Errors: `OptionError` with `fault`, which says what is wrong and what to do instead.
    """
    if not insecure and not is_loopback(host):
        raise OptionError(f"{fault}, or give --insecure if the network is yours alone")


def check_endpoint(endpoint: str, *, insecure: bool, keyed: bool = False) -> str:
    """Check a ZeroMQ endpoint, and return it; `keyed`: its socket will have keys. Errors: `OptionError`."""
    if _IPC.fullmatch(endpoint):
        return endpoint
    match = _TCP.fullmatch(endpoint)
    if match is None or (match["port"] != "*" and int(match["port"]) > 0xFFFF):
        raise OptionError(f"endpoint: got {endpoint!r}, expected tcp://HOST:PORT or ipc://PATH")
    require_loopback(
        match["host"].strip("[]"),
        f"endpoint: got {endpoint!r}, which other machines can reach, without keys: make some (usert keys "
        "make) and give them (--key), use 127.0.0.1",
        insecure=insecure or keyed,
    )
    return endpoint


def same_endpoint(one: str, other: str) -> bool:
    """Whether two endpoints that passed `check_endpoint` are one place on this machine, however they are written.

    Ports that the system chooses differ; other machines' names are compared as they are.
    """
    ours, theirs = _TCP.fullmatch(one), _TCP.fullmatch(other)
    if ours is None or theirs is None:
        return ours is theirs and _path(one) == _path(other)
    if ours["port"] in ("0", "*") or ours["port"] != theirs["port"]:
        return False
    first, second = (_bare_host(match["host"]) for match in (ours, theirs))
    return first == second or (
        "*" in (first, second) and all(host == "*" or is_loopback(host) for host in (first, second))
    )


def _path(endpoint: str) -> str:
    """Of an ipc endpoint; a name that begins with @ is no file."""
    path = endpoint.removeprefix("ipc://")
    return path if path.startswith("@") else os.path.realpath(path)


def _bare_host(text: str) -> str:
    """The host in one spelling: `*` for all interfaces, 127.0.0.1 for localhost."""
    host = text.strip("[]").lower()
    return {"0.0.0.0": "*", "::": "*", "localhost": "127.0.0.1"}.get(host, host)


def check_fixed_port(option: str, endpoint: str | None) -> None:
    """Check that a server that takes over will be found at the same `endpoint`. Errors: `OptionError`."""
    if endpoint is not None and endpoint.rpartition(":")[2] in ("0", "*"):
        raise OptionError(
            f"--{option}: got {endpoint}, expected a fixed port, at which the spare of --standby is found, too"
        )


def parse_address(text: str, *, name: str) -> tuple[str, int]:
    """Host, without brackets, and port of `HOST:PORT`; `name`: how errors name the address. Errors: `OptionError`."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 0xFFFF:
        raise OptionError(f"{name}: got {text!r}, expected HOST:PORT, such as 127.0.0.1:9464 or [::1]:0")
    return match["host"].strip("[]"), int(match["port"])


def parse_monitor_address(text: str, *, insecure: bool) -> tuple[str, int]:
    """Host and port of the monitor's `HOST:PORT`, which is on loopback unless `insecure`. Errors: `OptionError`."""
    host, port = parse_address(text, name="monitor address")
    require_loopback(
        host,
        f"monitor address: got {text!r}, which other machines can reach, unencrypted, without a password: "
        "use 127.0.0.1",
        insecure=insecure,
    )
    return host, port


def listen(host: str, port: int, *, name: str, backlog: int) -> socket.socket:
    """A TCP socket that listens at `host` and `port`; `name`: how errors name the two. Errors: `OptionError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family, backlog=backlog)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0  # negative where a name is not known
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
        raise OptionError(f"{name}: cannot bind: {reason}") from error
