"""Shows a few pages by HTTP, from one thread, to whoever watches the live server.

Knows addresses and connections; the pages are given. All sockets are served without waiting for any: clients that say
nothing, too much or too slowly cost a place among `MAX_CONNECTIONS` until their deadline, or until a newer client needs
it. Invariant: one thread, a bounded number of sockets, and no client and no page ends it.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http import HTTPStatus

from usert.errors import OptionError

from ..protocol.age import now_ns
from ..transport.address import parse_monitor_address
from ..transport.fault_counter import FaultCounter
from ..transport.lifecycle import POLL_MS, Service
from .http_connection import Connection, Page

MAX_CONNECTIONS = 32
_QUEUE_CONNECTIONS = 128
"""That the system holds until they are accepted: one more would come a second late."""
DEADLINE_S = 5.0
"""For a request and its answer, from the first byte to the last."""
_GRACE_S = 2.0

log = logging.getLogger(__name__)


class MonitorServer(Service):
    """Serves from `with MonitorServer(...) as monitor:` to the end of the block; there is nothing to run."""

    def __init__(
        self,
        address: str,
        pages: Mapping[str, Callable[[], Page]],
        *,
        insecure: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """`pages`: by path, each made in this server's thread when somebody asks. `insecure`: beyond this machine, too.

        Errors: `OptionError` for an address that makes no sense, and, when it opens, one that it cannot have.
        """
        super().__init__()
        self._host, self._port = parse_monitor_address(address, insecure=insecure)
        self._pages = dict(pages)
        self._deadline_ns = round(deadline_s * 1e9)
        self._connections: dict[Connection, int] = {}
        """With what each waits for, oldest first."""
        self._faults = FaultCounter(log, "monitor page")
        self._thread = threading.Thread(target=self._main, name="monitor", daemon=True)

    def _open(self, stack: ExitStack) -> None:
        self._listener = stack.enter_context(_listen(self._host, self._port))
        self._listener.setblocking(False)
        host, port = self._listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        """Where it really is, without a path."""
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        stack.callback(self._end)

    def _end(self) -> None:
        self.stop()
        self._thread.join(_GRACE_S)
        if self._thread.is_alive():
            log.warning("monitor: a page does not come to an end; left behind")

    def _main(self) -> None:
        try:
            while not self.stopping:
                for key, _ in self._selector.select(POLL_MS / 1e3):
                    if key.data is None:
                        self._accept()
                    elif key.data in self._connections:  # else it had to make room in this very round
                        self._step(key.data)
                self._expire()
        finally:
            for connection in list(self._connections):
                self._drop(connection)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:  # gone again
            return
        except OSError as error:  # no more sockets for this process, most likely
            self._faults.add("no connection", os.strerror(error.errno or 0))
            time.sleep(POLL_MS / 1e3)  # it would be asked again at once
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop(next(iter(self._connections)))
        connection = Connection(client, self._answer, deadline_ns=now_ns() + self._deadline_ns)
        self._connections[connection] = selectors.EVENT_READ
        self._selector.register(client, selectors.EVENT_READ, connection)
        self._step(connection)  # often the request is there already

    def _step(self, connection: Connection) -> None:
        wanted = connection.step()
        if wanted == 0:
            self._drop(connection)
        elif wanted != self._connections[connection]:
            self._connections[connection] = wanted
            self._selector.modify(connection.socket, wanted, connection)

    def _expire(self) -> None:
        now = now_ns()
        for connection in [one for one in self._connections if one.deadline_ns < now]:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection]
        self._selector.unregister(connection.socket)
        connection.close()

    def _answer(self, path: str) -> Page:
        make = self._pages.get(path)
        if make is None:
            return Page.error(HTTPStatus.NOT_FOUND)
        try:
            return make()
        except Exception as error:  # whatever a page fails at, the next one may be well
            self._faults.add(f"{path}: {type(error).__name__}", str(error))
            return Page.error(HTTPStatus.INTERNAL_SERVER_ERROR)


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family, backlog=_QUEUE_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        known = number is not None and number > 0
        reason = os.strerror(number) if known and number else getattr(error, "strerror", None) or str(error)
        raise OptionError(f"monitor address {host}:{port}: cannot bind: {reason}") from error
