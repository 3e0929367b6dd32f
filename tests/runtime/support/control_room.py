"""A live server that takes commands, with a source, a client and a controller."""

from __future__ import annotations

import time

import pytest
from live import TIMEOUT_S, Feed

from usert.errors import ControlError
from usert.runtime.clients.control_client import ControlClient
from usert.runtime.imaging.strain_ratio import Rectangle
from usert.runtime.protocol.commands import (
    COMMANDS,
    Status,
)
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.server.server import StrainServer

STATUS = Status()
LEFT, RIGHT = "0:0.4,0:0.9", "0:0.4,1.2:2.1"
BOTH = (Rectangle.parse(LEFT), Rectangle.parse(RIGHT))


class Room:
    """A server that takes commands, its source, a client and a console."""

    def __init__(self, server: StrainServer, feed: Feed, console: ControlClient) -> None:
        self.server = server
        self.feed = feed
        self.console = console

    def image(self) -> StrainMessage:
        """The image of a frame of now, however long the last one is ago."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            assert time.monotonic() < deadline
            self.feed.next()
            message = self.feed.client.receive(1.0)
            if message is not None and message.current.sequence == self.feed.sequence:
                return message

    def ask(self, name: str, **arguments: object) -> dict[str, object]:
        return self.console.ask(COMMANDS[name](**arguments))

    def refused(self, name: str, **arguments: object) -> str:
        with pytest.raises(ControlError) as raised:
            self.ask(name, **arguments)
        assert "\n" not in str(raised.value)
        return str(raised.value)
