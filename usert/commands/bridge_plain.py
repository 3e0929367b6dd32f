"""`usert bridge tcp` and `usert bridge shm`: RF and IQ of programs without ZeroMQ, such as MATLAB."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.bridge_line import say
from usert.commands.keys import ALLOW_HELP, KEY_HELP, server_keys
from usert.commands.option import option, switch

_PUBLISH_HELP = "Bind here, for `usert serve --rf`; port 0 is any free one."


def tcp(
    publish: str = option(..., "ENDPOINT", _PUBLISH_HELP),
    host: str = option("127.0.0.1", "HOST", "Host that senders connect to."),
    port: int = option(5557, "PORT", "Port that they connect to; 0 is any free one."),
    key: Path | None = option(None, "SECRET", KEY_HELP),
    allow: Path | None = option(None, "DIR", ALLOW_HELP),
    insecure: bool = switch("--insecure", "Allow senders, and endpoints without keys, on other machines."),
) -> None:
    """Receive RF or IQ frames over TCP from programs without ZeroMQ, such as MATLAB, for `usert serve`; Ctrl-C ends.

    Up to 8 senders at a time, of one stream each.
    """
    from usert.log_format import configure
    from usert.runtime.bridges.tcp_source import TcpConfig, TcpSource
    from usert.signals import stop_on_signals

    config = TcpConfig(publish=publish, host=host, port=port, keys=server_keys(key, allow), insecure=insecure)
    configure("text")
    source = TcpSource(config, report=say)
    with stop_on_signals(source.stop), source:
        say(f"rf on {source.relay.sender.endpoint} (pub), from TCP on {source.address}; Ctrl-C ends")
        source.run()
        summary = f"senders {source.served}, {source.relay.summary}"
    say(summary)


def shm(
    path: Path = typer.Argument(..., metavar="FILE", help="File that frames are written to, in /dev/shm."),
    publish: str = option(..., "ENDPOINT", _PUBLISH_HELP),
    key: Path | None = option(None, "SECRET", KEY_HELP),
    allow: Path | None = option(None, "DIR", ALLOW_HELP),
    insecure: bool = switch("--insecure", "Allow endpoints without keys on other machines: unencrypted."),
) -> None:
    """Read RF or IQ frames from a file in memory that MATLAB, say, writes to, for `usert serve`; Ctrl-C ends.

    Waits for the file, and for its writer when it starts again.
    """
    from usert.log_format import configure
    from usert.runtime.bridges.shm_source import ShmConfig, ShmSource
    from usert.signals import stop_on_signals

    config = ShmConfig(path=path, publish=publish, keys=server_keys(key, allow), insecure=insecure)
    configure("text")
    source = ShmSource(config, report=say)
    with stop_on_signals(source.stop), source:
        say(f"rf on {source.relay.sender.endpoint} (pub), from {path}; Ctrl-C ends")
        source.run()
        summary = source.relay.summary
    say(summary)
