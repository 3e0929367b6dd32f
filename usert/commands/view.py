"""`usert view`: the live page, in a browser."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.keys import KEY_HELP, SERVER_KEY_HELP, client_keys
from usert.commands.option import option, switch


def view(
    strain: str = option(..., "ENDPOINT", "Endpoint of strain images, as in `usert serve --publish`."),
    rf: str | None = option(None, "ENDPOINT", "Endpoint of the frames (PUB), for B-mode beside the strain."),
    rows: str | None = option(None, "A:B", "Samples of --rf along depth, as `usert serve --rows` cuts them."),
    control: str | None = option(
        None, "ENDPOINT", "Control endpoint of the server, for starting and stopping records."
    ),
    http: str = option("127.0.0.1:8080", "HOST:PORT", "Address of the page; port 0 is any free one."),
    stream: str = option("", "NAME", "Stream to show; by default the first that is received."),
    stale_ms: float = option(500.0, "MS", "An image older than this is called stale.", min=0.0),
    token_file: Path | None = option(
        None, "FILE", "File of the token that browsers need, instead of a random one; also on this machine."
    ),
    tls_cert: Path | None = option(None, "PEM", "Certificate: the page is then encrypted."),
    tls_key: Path | None = option(None, "PEM", "Its secret key."),
    key: Path | None = option(None, "SECRET", KEY_HELP),
    server_key: Path | None = option(None, "PUBLIC", SERVER_KEY_HELP),
    rf_key: Path | None = option(None, "PUBLIC", "Public key of the source at --rf, the only one accepted."),
    insecure: bool = switch(
        "--insecure", "Allow endpoints on other machines without keys, and an unencrypted page for them."
    ),
) -> None:
    """Show the live stream in a browser: B-mode, strain, quality, strain ratio and age; Ctrl-C ends.

    Anybody on this machine may look; from others only with the token, which the printed address contains.
    """
    from usert.commands.shape_option import parse_rows
    from usert.errors import OptionError, require

    for module in ("starlette", "uvicorn", "websockets"):
        require(module, "view")
    from usert.runtime.view.address import Address
    from usert.runtime.view.authentication import random_token, read_token
    from usert.runtime.view.live_page import LivePage, PageConfig
    from usert.signals import stop_on_signals

    if (tls_cert is None) != (tls_key is None):
        raise OptionError("TLS: got one of --tls-cert and --tls-key, expected both, or neither")
    address = Address.parse(http)
    token = None if token_file is None else read_token(token_file)
    if address.open and token is None:
        token = random_token()
    page = LivePage(
        PageConfig(
            strain=strain,
            rf=rf,
            rows=parse_rows(rows),
            control=control,
            http=address,
            stream=stream,
            token=token,
            stale_ms=stale_ms,
            keys=client_keys(key if rf_key is None or server_key is not None else None, server_key),
            rf_keys=client_keys(key if rf_key is not None else None, rf_key, option="--rf-key"),
            insecure=insecure,
            certificate=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        )
    )
    with stop_on_signals(page.stop), page:
        if address.open and tls_cert is None and not insecure:
            typer.echo(
                "view: not encrypted: others on this network can read images and token; give --tls-cert and "
                "--tls-key, or --insecure if the network is yours alone",
                err=True,
            )
        typer.echo(f"view: page on {page.url}")
        typer.echo(f"view: strain from {strain}; Ctrl-C ends")
        page.run()
