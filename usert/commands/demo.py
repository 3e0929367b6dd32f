"""`usert demo`: the whole live path on this machine, and a picture."""

from __future__ import annotations

from pathlib import Path

import typer


def demo(
    seconds: float = typer.Option(12.0, metavar="S", help="How long, from the first image on."),
    out: Path = typer.Option(Path("usert-demo.png"), metavar="PNG", help="Picture of the best image."),
    size: str = typer.Option(
        "small", metavar="NAME", help="Frame size of the simulated scanner: small, medium, large."
    ),
    rate: float = typer.Option(20.0, metavar="HZ", help="Frames a second of the simulated scanner."),
    lag: int = typer.Option(4, metavar="L", help="Frames between the two of a pair."),
    bundle: Path | None = typer.Option(None, metavar="DIR", help="Bundle to use instead of the default one."),
) -> None:
    """Run simulated scanner, server and client together; save a picture, print rate, age and strain ratio.

    Needs no GPU, no scanner and no download. Ctrl-C ends it early.
    """
    from rich.console import Console

    from usert.runtime.demo import Demo, DemoConfig
    from usert.runtime.watch import StatusLine
    from usert.signals import stop_on_signals

    config = DemoConfig(out=out, seconds=seconds, size=size, rate_hz=rate, lag=lag, bundle=bundle)
    with StatusLine(Console()) as line:
        show = Demo(config, line.show)
        with stop_on_signals(show.stop):
            report = show.run()
    typer.echo(f"demo: {report}")
