"""`usert view`: the live page, in a browser."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.dicom_options import Dicom
from usert.commands.image_options import Images
from usert.commands.option import grouped, option, switch


@grouped
def view(
    *,
    images: Images,
    dicom: Dicom,
    control: str | None = option(
        None, "ENDPOINT", "Control endpoint of the server, for starting and stopping records."
    ),
    http: str = option("127.0.0.1:8080", "HOST:PORT", "Address of the page; port 0 is any free one."),
    stale_ms: float = option(500.0, "MS", "An image older than this is called stale.", min=0.0),
    token_file: Path | None = option(
        None, "FILE", "File of the token that browsers need, instead of a random one; also on this machine."
    ),
    tls_cert: Path | None = option(None, "PEM", "Certificate: the page is then encrypted."),
    tls_key: Path | None = option(None, "PEM", "Its secret key."),
    insecure: bool = switch(
        "--insecure", "Allow endpoints on other machines without keys, and an unencrypted page for them."
    ),
) -> None:
    """Show the live stream in a browser: B-mode, strain, quality, strain ratio and age; Ctrl-C ends.

    Anybody on this machine may look; from others only with the token, which the printed address contains.
    """
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
    node = dicom.node()
    page = LivePage(
        PageConfig(
            **images.source(),
            control=control,
            http=address,
            token=token,
            stale_ms=stale_ms,
            insecure=insecure,
            dicom_folder=dicom.folder(),
            dicom_node=node,
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
        if node is not None and node.unprotected and not insecure:
            typer.echo(
                f"view: DICOM goes to {node.name} unencrypted: others on the way can read images and identifiers; "
                "give --dicom-tls, or --insecure if the network is yours alone",
                err=True,
            )
        typer.echo(f"view: page on {page.url}")
        typer.echo(f"view: strain from {images.strain}; Ctrl-C ends")
        page.run()
