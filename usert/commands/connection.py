"""The options by which a command finds the control endpoint of a live server, and the request it sends there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from usert.commands.keys import KEY_HELP, SERVER_KEY_HELP, client_keys
from usert.commands.option_group import OptionGroup, option, switch

if TYPE_CHECKING:
    from usert.runtime.protocol.commands import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(OptionGroup):
    """Options of a connection to the control endpoint."""

    panel: ClassVar[str] = "Connection"

    control: Annotated[
        str, option("ENDPOINT", "Control endpoint of the server, as in `usert serve --control`.")
    ]
    key: Annotated[Path | None, option("SECRET", KEY_HELP)] = None
    server_key: Annotated[Path | None, option("PUBLIC", SERVER_KEY_HELP)] = None
    insecure: Annotated[
        bool, switch("--insecure", "Allow an endpoint on another machine without keys, unencrypted.")
    ] = False

    def ask(self, command: Command) -> Mapping[str, Any]:
        """Send `command` to the server and return its answer. Errors: `UsertError`, also where the server refuses."""
        from usert.runtime.clients.control_client import ControlClient
        from usert.signals import stop_on_signals

        keys = client_keys(self.key, self.server_key)
        client = ControlClient(self.control, keys=keys, insecure=self.insecure)
        with stop_on_signals(client.stop), client:
            return client.ask(command)
