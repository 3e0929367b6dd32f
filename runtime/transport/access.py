"""Access by public keys in a folder, of which ZeroMQ asks at every handshake (ZAP, RFC 27).

Invariant: a handshake succeeds only while the file of its key lies in the folder; whatever goes wrong is a denial, and
without an open `Authenticator` every handshake is denied.

ZeroMQ asks at the handshake only. Connected clients whose key was removed since are found by reading the folder twice a
second; the owner of the socket then cuts every connection (`BoundSocket.renew`).

The requests are answered here, not by pyzmq's `ThreadAuthenticator`: there an error in the callback or a key of a wrong
length ends the thread, and with it every later handshake; NULL and GSSAPI pass in a domain that has keys; a denial has
no address to log; and the folder would need a second thread.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack

import zmq
from zmq.utils import z85

from usert.errors import OptionError

from .fault_counter import FaultCounter
from .keys import ClientKeys, Keys, ServerKeys, key_files, load_public
from .lifecycle import POLL_MS, Worker

_ADDRESS = "inproc://zeromq.zap.01"
_CHECK_S = 0.5
"""Time between two searches for keys that were removed from the folder."""
_REQUEST_PARTS = 7

log = logging.getLogger(__name__)


class AccessList:
    """The clients that may connect to one socket: those whose keys lie in its folder. Thread-safe."""

    def __init__(self, name: str, keys: ServerKeys) -> None:
        """`name`: of the socket, in the log."""
        self._name = name
        self._keys = keys
        self._connected: set[bytes] = set()
        self._lock = threading.Lock()
        self._unreadable = FaultCounter(log, "keys not readable, their owners are denied")
        self.revoked = False
        """Whether the key of a connected client was removed."""

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make `socket` encrypt and authenticate its clients; to be called before it binds."""
        socket.curve_server = True
        socket.curve_publickey = self._keys.pair.public
        socket.curve_secretkey = self._keys.pair.secret
        socket.zap_domain = self._name.encode()
        # or ZeroMQ accepts everybody while there is no authenticator to answer
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def admit(self, key: bytes) -> bool:
        """Whether the owner of `key` (Z85) may connect now; if so, it counts as connected."""
        allowed = key in self._allowed()
        if allowed:
            with self._lock:
                self._connected.add(key)
        return allowed

    def check(self) -> None:
        """Read the folder, and set `revoked` if the key of a connected client is no longer there."""
        allowed = self._allowed()
        with self._lock:
            removed = self._connected - allowed
            if removed and not self.revoked:
                log.info(
                    "%s: keys of connected clients revoked: %d; all clients reconnect",
                    self._name,
                    len(removed),
                )
            self.revoked = bool(removed)

    def reset(self) -> None:
        """Forget who is connected: the socket was closed."""
        with self._lock:
            self._connected.clear()
            self.revoked = False

    def _allowed(self) -> set[bytes]:
        """The keys in the folder, less those in files that cannot be read."""
        found: set[bytes] = set()
        try:
            files = key_files(self._keys.allowed)
        except OptionError as error:
            self._unreadable.add(str(self._keys.allowed), str(error))
            return found
        for path in files:
            try:
                found.add(load_public(path))
            except OptionError as error:
                self._unreadable.add(path.name, str(error))
        return found


Security = AccessList | ClientKeys
"""What makes a socket secure: an access list where it binds, a client's keys where it connects."""


class Authenticator(Worker):
    """Authenticates the clients of all sockets of one context.

    `with Authenticator(context, strain=keys) as authenticator: ...`, opened before the sockets, closed after them.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], **keys: Keys | None) -> None:
        """`keys`: those of each socket, by its name; None for a socket that needs none."""
        super().__init__("authenticate")
        self._context = context
        self._securities: dict[str, Security | None] = {
            name: AccessList(name, found) if isinstance(found, ServerKeys) else found
            for name, found in keys.items()
        }
        self._lists = {
            name.encode(): access
            for name, access in self._securities.items()
            if isinstance(access, AccessList)
        }
        self.denied = FaultCounter(log, "denied")
        """Handshakes that were denied here. ZeroMQ denies clients that do not know the server's key by itself."""

    def security(self, name: str) -> Security | None:
        """The security settings of the socket `name`; None if it needs no keys."""
        return self._securities[name]

    def access(self, name: str) -> AccessList | None:
        """The access list of the socket `name`, which binds; None if it needs no keys."""
        found = self._securities[name]
        assert not isinstance(found, ClientKeys)
        return found

    def _open(self, stack: ExitStack) -> None:
        if self._lists:
            self._socket = stack.enter_context(self._context.socket(zmq.REP))
            self._socket.linger = 0
            self._socket.bind(_ADDRESS)
            self._start(stack)

    def _work(self) -> None:
        check_s = time.monotonic()
        while not self.stopping:
            self.denied.log_repeated()
            if self._socket.poll(POLL_MS):
                self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
            if time.monotonic() >= check_s:
                check_s = time.monotonic() + _CHECK_S
                for access in self._lists.values():
                    access.check()

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """The reply to `request`: version, id, status, its text, user, metadata."""
        try:
            allowed = self._allowed(request)
        except Exception as error:  # whatever it is, it is a denial, and the next request is answered
            self.denied.add(type(error).__name__, str(error))
            allowed = False
        code, text = (b"200", b"OK") if allowed else (b"400", b"denied")
        return [b"1.0", request[1] if len(request) > 1 else b"", code, text, b"", b""]

    def _allowed(self, request: list[bytes]) -> bool:
        """Whether the handshake that `request` is about may succeed; counted where it may not."""
        if len(request) != _REQUEST_PARTS or request[0] != b"1.0":
            self.denied.add("request", f"got {len(request)} parts, expected {_REQUEST_PARTS}")
            return False
        _, _, domain, address, _, mechanism, credentials = request
        access = self._lists.get(domain)
        if access is None or mechanism != b"CURVE" or len(credentials) != 32:
            self.denied.add("mechanism", f"{address!r} to {domain!r} by {mechanism!r}, expected CURVE")
            return False
        key = z85.encode(credentials)
        if not access.admit(key):
            client = f"{address.decode(errors='replace')} with the key {key.decode()}"
            self.denied.add("key", f"{client} to {domain.decode()}")
            return False
        return True
