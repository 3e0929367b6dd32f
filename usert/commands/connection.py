"""The options by which a command finds the control endpoint of a live server, and the request it sends there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usert.commands.keys import KEY_HELP, SERVER_KEY_HELP, client_keys
from usert.commands.option import option, switch

if TYPE_CHECKING:
    from usert.runtime.protocol.commands import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Options of a connection to the control endpoint."""

    control: str = option(..., "ENDPOINT", "Control endpoint of the server, as in `usert serve --control`.")
    key: Path | None = option(None, "SECRET", KEY_HELP)
    server_key: Path | None = option(None, "PUBLIC", SERVER_KEY_HELP)
    insecure: bool = switch("--insecure", "Allow an endpoint on another machine without keys, unencrypted.")

    def ask(self, command: Command) -> Mapping[str, Any]:
        """Send `command` to the server and return its answer. Errors: `UsertError`, also where the server refuses."""
        from usert.runtime.clients.control_client import ControlClient
        from usert.signals import stop_on_signals

        keys = client_keys(self.key, self.server_key)
        client = ControlClient(self.control, keys=keys, insecure=self.insecure)
        with stop_on_signals(client.stop), client:
            return client.ask(command)
