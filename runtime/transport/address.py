"""Where a socket may bind or connect: this machine only, unless it has keys or the user says otherwise.

Knows nothing of messages. Invariant: an endpoint that was checked is on loopback or a local file, or its socket
has keys, or the user said `insecure` in so many words.
"""

from __future__ import annotations

import ipaddress
import re

import zmq

from usert.errors import OptionError

_TCP = re.compile(r"tcp://(?P<host>\[[^\]\s]+\]|[^:;\s\[\]]+):(?P<port>\d{1,5}|\*)")
_IPC = re.compile(r"ipc://\S+")


def check_endpoint(endpoint: str, *, insecure: bool, keyed: bool = False) -> str:
    """`endpoint` if it may be used; `keyed`: its socket will have keys. Errors: `OptionError`."""
    if _IPC.fullmatch(endpoint):
        return endpoint
    match = _TCP.fullmatch(endpoint)
    if match is None:
        raise OptionError(f"endpoint: got {endpoint!r}, expected tcp://HOST:PORT or ipc://PATH")
    if keyed or insecure or _is_loopback(match["host"].strip("[]")):
        return endpoint
    raise OptionError(
        f"endpoint: got {endpoint!r}, which other machines can reach, without keys: make some (usert keys "
        "make) and give them (--key), use 127.0.0.1, or give --insecure if the network is yours alone"
    )


def attach(socket: zmq.Socket[bytes], endpoint: str, *, bind: bool) -> str:
    """Bind or connect `socket`, and say where it really is (port 0 becomes a free port)."""
    socket.ipv6 = "[" in endpoint
    try:
        if not bind:
            socket.connect(endpoint)
            return endpoint
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise OptionError(
            f"endpoint {endpoint}: cannot {'bind' if bind else 'connect'}: {error.strerror}"
        ) from error
    return socket.get_string(zmq.LAST_ENDPOINT)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
