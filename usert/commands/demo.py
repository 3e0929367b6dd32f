"""`usert demo`: the whole live path on this machine, and a picture."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import typer

from usert.commands.engine import BUNDLE
from usert.commands.option import option


def demo(
    seconds: float = option(30.0, "S", "Duration, from the first image on."),
    out: Path = option(Path("usert-demo.png"), "PNG", "Picture of the best image."),
    size: str = option("small", "NAME", "Frame size of the simulated scanner: small, medium, large."),
    rate: float = option(20.0, "HZ", "Frames a second of the simulated scanner."),
    lag: int = option(4, "L", "Frames from the first to the second of a pair."),
    bundle: Path | None = BUNDLE,
    page: bool = typer.Option(
        True, help="Serve the live page as well, and print its address; needs the extra `view`."
    ),
) -> None:
    """Run simulated scanner, server, client and live page together; save a picture, print rate, age and strain ratio.

    Needs no GPU, no scanner and no download. Ctrl-C ends it early.
    """
    from rich.console import Console

    from usert.runtime.clients.terminal import StatusLine
    from usert.runtime.sources.demo import Demo, DemoConfig
    from usert.signals import stop_on_signals

    missing = [name for name in ("starlette", "uvicorn", "websockets") if find_spec(name) is None]
    if page and missing:
        typer.echo(
            f"demo: no live page: no module {missing[0]}; pip install 'usert[view]' gives one", err=True
        )
    config = DemoConfig(
        out=out, seconds=seconds, size=size, rate_hz=rate, lag=lag, bundle=bundle, page=page and not missing
    )
    with StatusLine(Console()) as line:
        show = Demo(config, line.show, line.keep)
        with stop_on_signals(show.stop):
            report = show.run()
    typer.echo(f"demo: {report}")
    if report.picture is not None:
        typer.echo(f"demo: {report.pace}")
