"""The live page as a service: `with LivePage(config) as page:` binds its address, `page.run()` serves it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.websockets import WebSocket

from usert import __version__
from usert.errors import OptionError

from ..clients.control_client import ControlClient
from ..clients.image_source import ImageSource
from ..transport.lifecycle import Service
from .address import Address
from .authentication import Authentication
from .case_desk import CaseDesk
from .dicom_folder import DicomFolder
from .dicom_node import DicomNode
from .dicom_routes import DicomRoutes
from .feed import Feed
from .pages import pages
from .record_button import RecordButton
from .viewer import Viewer, Viewers

log = logging.getLogger(__name__)

_MOST_MESSAGE = 1 << 16
_GRACE_S = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PageConfig(ImageSource):
    """The images that the live page shows, and how it is served."""

    http: Address
    control: str | None = None
    """Address of the strain server's control socket, for recording; None: no record button."""
    token: str | None = field(default=None, repr=False)
    """Access token that a browser must present; None: every user of this machine has access."""
    certificate: tuple[Path, Path] | None = None
    """Certificate chain and private key for TLS, both PEM; None: no TLS."""
    dicom_folder: DicomFolder | None = None
    """Where DICOM objects are saved; None: the browser keeps them."""
    dicom_node: DicomNode | None = None
    """Where DICOM objects can be sent to."""

    def __post_init__(self) -> None:
        ImageSource.__post_init__(self)  # `super()` does not know a class that `slots=True` has made again
        if self.http.open and self.token is None:
            raise ValueError("a page that other machines can reach has a token")


class LivePage(Service):
    """The web server of the live page."""

    def __init__(self, config: PageConfig) -> None:
        """Errors: `OptionError` for endpoints that are not allowed, and on opening for an address that is in use."""
        super().__init__()
        self._config = config
        self._client = config.client()
        self._frames = config.frames()
        self._control = None
        if config.control is not None:
            self._control = ControlClient(config.control, keys=config.keys, insecure=config.insecure)
        self._viewers = Viewers()
        self._desk = CaseDesk(self._viewers, self._in_loop)
        self._dicom = DicomRoutes(
            lambda: self._desk.current, folder=config.dicom_folder, node=config.dicom_node
        )
        self._about = {
            "run": secrets.token_hex(8),
            "version": __version__,
            "strain": config.strain,
            "stale_ms": config.stale_ms,
            "bmode": config.rf is not None,
            "control": config.control is not None,
            "dicom": self._dicom.about,
        }

    def _open(self, stack: ExitStack) -> None:
        config = self._config
        self._listener = stack.enter_context(config.http.listen())
        self.port = int(self._listener.getsockname()[1])
        """The port that is really bound."""
        self._server = _Server(self._server_config())

    def _server_config(self) -> uvicorn.Config:
        config = self._config
        encrypted = config.certificate is not None
        app = Authentication(
            pages(self._viewers, self._viewer, self._dicom.routes),
            token=config.token,
            port=self.port,
            encrypted=encrypted,
        )
        settings = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=_MOST_MESSAGE,
            ws_per_message_deflate=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
            ssl_certfile=None if config.certificate is None else config.certificate[0],
            ssl_keyfile=None if config.certificate is None else config.certificate[1],
        )
        try:
            settings.load()
        except OSError as error:
            raise OptionError(f"--tls-cert, --tls-key: {error.strerror or error}") from error
        return settings

    @property
    def url(self) -> str:
        """The URL to open, with the token."""
        config = self._config
        url = config.http.url(self.port, encrypted=config.certificate is not None)
        return url if config.token is None else f"{url}?token={config.token}"

    def stop(self) -> None:
        """Make `run` return soon. Safe in any thread and in signal handlers; idempotent."""
        super().stop()
        if self.state == "open":
            self._server.should_exit = True

    def run(self) -> None:
        """Serve until `stop()`. Errors: whatever ended the feed's thread."""
        with self._loop():
            if not self.stopping:
                asyncio.run(self._serve(self._listener))

    async def _serve(self, listener: socket.socket) -> None:
        self._events = asyncio.get_running_loop()
        with ExitStack() as stack:
            if self._control is not None:
                self._desk.button = RecordButton(
                    self._control,
                    show=lambda told: self._in_loop(self._viewers.say, "record", told),
                    watched=self._viewers.watched,
                )
                stack.enter_context(self._desk.button)
            feed = Feed(
                self._client,
                frames=self._frames,
                stream=self._config.stream,
                watched=self._viewers.watched,
                on_picture=lambda picture: self._in_loop(self._viewers.offer, picture),
                on_error=self.stop,
            )
            stack.enter_context(feed)
            asking = asyncio.ensure_future(self._dicom.check(log.warning))
            stack.callback(asking.cancel)
            await self._server.serve([listener])
        feed.check()

    def _in_loop(self, call: Callable[..., None], *values: Any) -> None:
        """Call a function in the event loop from another thread; the threads end before the loop does."""
        self._events.call_soon_threadsafe(call, *values)

    def _viewer(self, socket_: WebSocket) -> Viewer:
        return Viewer(socket_, about=self._about, record=self._record, case=self._desk.order)

    def _record(self, viewer: Viewer, start: bool) -> None:
        button, case = self._desk.button, self._desk.current.identifier
        if button is None:
            viewer.say("refused", "records need the control endpoint: start usert view with --control")
        elif self._desk.ending:
            viewer.say("refused", "a record is being ended for the next case: try again")
        else:
            button.press(start, lambda line: self._in_loop(viewer.say, "refused", line), case=case)


class _Server(uvicorn.Server):
    """A uvicorn server that installs no signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
