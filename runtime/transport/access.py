"""The gatekeeper of a context: whose key may come in, asked by ZeroMQ at every handshake (ZAP, ZeroMQ RFC 27).

Knows keys and folders, not what is sent. Invariant: only a key whose file lies in the folder at that moment comes
in; whatever goes wrong is a denial, and without a gatekeeper nobody comes in.

ZeroMQ asks at the handshake only. Who came in and lost its key since is found by looking at the folder now and
then; the owner of the socket then cuts every connection (`Link.renew`).
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import zmq
from zmq.utils import z85

from usert.errors import OptionError

from .fault_counter import Tally
from .keys import ClientKeys, Keys, ServerKeys, key_files, load_public
from .lifecycle import POLL_MS

_ADDRESS = "inproc://zeromq.zap.01"
_LOOK_S = 0.5
"""How often the folder is looked at for keys that were taken away."""
_REQUEST_PARTS = 7

log = logging.getLogger(__name__)


class Guard:
    """Whom one socket lets in; thread-safe."""

    def __init__(self, name: str, keys: ServerKeys) -> None:
        self._name = name
        self._keys = keys
        self._inside: set[bytes] = set()
        self._lock = threading.Lock()
        self._unreadable = Tally(log, "nobody comes in by this file")
        self.revoked = False
        """Somebody inside has lost its key."""

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make `socket` encrypt, and let in whom the gatekeeper allows; before it binds."""
        socket.curve_server = True
        socket.curve_publickey = self._keys.pair.public
        socket.curve_secretkey = self._keys.pair.secret
        socket.zap_domain = self._name.encode()
        # or ZeroMQ lets in everybody while no gatekeeper answers
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def admit(self, key: bytes) -> bool:
        """Whether the owner of `key` may come in now; who may is inside from now on."""
        allowed = key in self._allowed()
        if allowed:
            with self._lock:
                self._inside.add(key)
        return allowed

    def look(self) -> None:
        """Find out whether somebody inside has lost its key."""
        allowed = self._allowed()
        with self._lock:
            gone = self._inside - allowed
            if gone and not self.revoked:
                log.info("%s: %d keys were taken away, all clients shake hands anew", self._name, len(gone))
            self.revoked = bool(gone)

    def forget(self) -> None:
        """Nobody is inside any more: the socket is closed."""
        with self._lock:
            self._inside.clear()
            self.revoked = False

    def _allowed(self) -> set[bytes]:
        """The keys in the folder; a file that holds none lets nobody in."""
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


Security = Guard | ClientKeys
"""What makes a socket secure: a guard where it binds, a client's keys where it connects."""


class Gatekeeper:
    """Answers in a thread of its own; `with Gatekeeper(context, strain=keys) as gatekeeper: ...`.

    Opened before the sockets that it guards, closed after them.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], **keys: Keys | None) -> None:
        """`keys` by the name of their socket; None, where a socket needs none, is the simplest case."""
        self._context = context
        self._securities: dict[str, Security | None] = {
            name: Guard(name, found) if isinstance(found, ServerKeys) else found
            for name, found in keys.items()
        }
        self._guards = {
            name.encode(): guard for name, guard in self._securities.items() if isinstance(guard, Guard)
        }
        self._stopping = False
        self._bound: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, name="gatekeeper", daemon=True)
        self.denied = Tally(log, "denied")
        """Handshakes that ended at the gate. Who knows not the server's key does not come as far as that."""

    def security(self, name: str) -> Security | None:
        """What the socket `name` is to be made secure with."""
        return self._securities[name]

    def __enter__(self) -> Self:
        if self._guards:
            self._thread.start()
            self._bound.result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping = True
        if self._guards:
            self._thread.join()

    def _main(self) -> None:
        with self._context.socket(zmq.REP) as socket:
            socket.linger = 0
            try:
                socket.bind(_ADDRESS)
            except BaseException as error:  # told to whoever opens
                self._bound.set_exception(error)
                return
            self._bound.set_result(None)
            look_s = time.monotonic()
            while not self._stopping:
                if socket.poll(POLL_MS):
                    socket.send_multipart(self._answer(socket.recv_multipart()))
                if time.monotonic() >= look_s:
                    look_s = time.monotonic() + _LOOK_S
                    for guard in self._guards.values():
                        guard.look()

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """The reply to `request`: version, id, status, its text, user, metadata."""
        try:
            fault = self._fault(request)
        except Exception as error:  # whatever it is, it opens no door, and the next one is answered
            fault = self._deny(type(error).__name__, str(error))
        code, text = (b"200", b"OK") if fault is None else (b"400", b"denied")
        return [b"1.0", request[1] if len(request) > 1 else b"", code, text, b"", b""]

    def _fault(self, request: list[bytes]) -> str | None:
        """Why whoever asks may not come in, counted; None if they may."""
        if len(request) != _REQUEST_PARTS or request[0] != b"1.0":
            return self._deny("request", f"got {len(request)} parts, expected {_REQUEST_PARTS}")
        _, _, domain, address, _, mechanism, credentials = request
        guard = self._guards.get(domain)
        if guard is None or mechanism != b"CURVE" or len(credentials) != 32:
            return self._deny("mechanism", f"{address!r} to {domain!r} by {mechanism!r}, expected CURVE")
        key = z85.encode(credentials)
        if not guard.admit(key):
            who = f"{address.decode(errors='replace')} with the key {key.decode()}"
            return self._deny("key", f"{who} to {domain.decode()}")
        return None

    def _deny(self, kind: str, detail: str) -> str:
        self.denied.add(kind, detail)
        return kind
