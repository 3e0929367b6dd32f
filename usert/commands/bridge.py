"""`usert bridge`: live streams from and to other programs.

A bridge is a process of its own, and to the live server a viewer or a source like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import typer

from usert.commands.keys import ALLOW_HELP, KEY_HELP, SERVER_KEY_HELP, client_keys, server_keys

_INSECURE_HELP = "Allow OpenIGTLink, and endpoints without keys, on other machines: unencrypted."

bridge = typer.Typer(help="Connect live streams to other programs.", no_args_is_help=True)


@bridge.command("igtl")
def igtl(
    strain: str = typer.Option(
        ..., metavar="ENDPOINT", help="Endpoint of strain images, as in `usert serve --publish`."
    ),
    rf: str | None = typer.Option(
        None, metavar="ENDPOINT", help="Endpoint of the frames (PUB), for B-mode beside the strain."
    ),
    rows: str | None = typer.Option(
        None, metavar="A:B", help="Samples of --rf along depth, as `usert serve --rows` cuts them."
    ),
    host: str = typer.Option("127.0.0.1", metavar="HOST", help="Host that OpenIGTLink clients connect to."),
    port: int = typer.Option(18944, metavar="PORT", help="Port that they connect to; 0 is any free one."),
    prefix: str = typer.Option(
        "usert", metavar="NAME", help="Devices are named NAME_strain, NAME_quality, NAME_bmode, NAME_status."
    ),
    blank: float = typer.Option(
        -100.0, metavar="PERCENT", help="Strain that is sent for pixels that must not be read."
    ),
    stale_ms: float = typer.Option(
        500.0, metavar="MS", help="An image older than this is called stale, and sent blank."
    ),
    stream: str = typer.Option(
        "", metavar="NAME", help="Stream to send; by default the first that is received."
    ),
    key: Path | None = typer.Option(None, metavar="SECRET", help=KEY_HELP),
    server_key: Path | None = typer.Option(None, metavar="PUBLIC", help=SERVER_KEY_HELP),
    rf_key: Path | None = typer.Option(
        None, metavar="PUBLIC", help="Public key of the source at --rf, the only one accepted."
    ),
    insecure: bool = typer.Option(False, "--insecure", help=_INSECURE_HELP),
) -> None:
    """Send strain, quality, B-mode and status to OpenIGTLink clients, such as 3D Slicer; Ctrl-C ends.

    Waits for the server, and continues when it starts again.
    """
    from usert.commands.shape_option import parse_rows
    from usert.log_format import configure
    from usert.runtime.bridges.igtl_bridge import BridgeConfig, IgtlBridge
    from usert.signals import stop_on_signals

    config = BridgeConfig(
        strain=strain,
        rf=rf,
        rows=parse_rows(rows),
        host=host,
        port=port,
        prefix=prefix,
        stream=stream,
        stale_ms=stale_ms,
        blank_percent=blank,
        keys=client_keys(key if rf_key is None or server_key is not None else None, server_key),
        rf_keys=client_keys(key if rf_key is not None else None, rf_key, option="--rf-key"),
        insecure=insecure,
    )
    configure("text")
    sender = IgtlBridge(config, report=_say)
    with stop_on_signals(sender.stop), sender:
        _say(f"OpenIGTLink on {sender.address}, devices {prefix}_strain and others; Ctrl-C ends")
        sender.run()
        clients = sender.broadcaster
        summary = (
            f"{sender.received} images received, skipped {sender.skipped}, sent {sender.sent}, "
            f"clients {clients.served}, disconnected {clients.disconnected}, rejected {clients.rejected}"
        )
    _say(summary)


@bridge.command("igtl-rf")
def igtl_rf(
    receive: str = typer.Option(
        ...,
        metavar="HOST:PORT",
        help="An OpenIGTLink server that sends RF or IQ frames as images, such as PLUS.",
    ),
    publish: str = typer.Option(
        ..., metavar="ENDPOINT", help="Bind here, for `usert serve --rf`; port 0 is any free one."
    ),
    f0_mhz: float = typer.Option(..., metavar="F", help="Centre frequency of the pulse."),
    fs_mhz: float | None = typer.Option(
        None,
        metavar="F",
        help="Sampling frequency along depth, instead of the one that the image's spacing gives.",
    ),
    line_pitch_mm: float | None = typer.Option(
        None, metavar="MM", help="Distance of neighbouring scan lines, instead of the image's spacing."
    ),
    sound_speed: float = typer.Option(1540.0, metavar="C", help="Speed of sound in m/s."),
    transpose: bool = typer.Option(
        False, "--transpose", help="Rows of the image are scan lines, as in RF frames of PLUS."
    ),
    kind: str = typer.Option(
        "rf",
        help="rf; iq: two components a pixel; iq-pairs: I and Q in turns along depth; iq-lines: a line of I, a line "
        "of Q.",
    ),
    demodulation_mhz: str | None = typer.Option(
        None,
        metavar="MHZ",
        help="Of IQ: the frequency by which it was turned down; row:MHZ,row:MHZ,… where it changes with depth.",
    ),
    radius_mm: float | None = typer.Option(
        None, metavar="MM", help="Radius of a curved array, 0 of a phased one; by default lines are parallel."
    ),
    line_angle_deg: float | None = typer.Option(
        None, metavar="DEG", help="Angle between neighbouring lines of a curved or phased array."
    ),
    first_depth_mm: float = typer.Option(
        0.0, metavar="MM", help="Depth of the image's first row below the array."
    ),
    device: str = typer.Option(
        "", metavar="NAME", help="Device to receive; by default the first whose image is an RF frame."
    ),
    stream: str = typer.Option("", metavar="NAME", help="Name of the stream; by default that of the device."),
    key: Path | None = typer.Option(None, metavar="SECRET", help=KEY_HELP),
    allow: Path | None = typer.Option(None, metavar="DIR", help=ALLOW_HELP),
    insecure: bool = typer.Option(False, "--insecure", help=_INSECURE_HELP),
) -> None:
    """Receive RF or IQ frames from an OpenIGTLink server, such as PLUS, for `usert serve`; Ctrl-C ends.

    Waits for the sender, and connects again after a loss.
    """
    from usert.formats.declared import parse_demodulation
    from usert.log_format import configure
    from usert.runtime.bridges.igtl_frames import ImageReading
    from usert.runtime.bridges.igtl_source import IgtlSource, SourceConfig
    from usert.signals import stop_on_signals

    config = SourceConfig(
        receive=receive,
        publish=publish,
        reading=ImageReading(
            f0_hz=1e6 * f0_mhz,
            fs_hz=None if fs_mhz is None else 1e6 * fs_mhz,
            line_pitch_mm=line_pitch_mm,
            sound_speed_m_s=sound_speed,
            transpose=transpose,
            kind=cast("Any", kind),
            demodulation_hz=None if demodulation_mhz is None else parse_demodulation(demodulation_mhz),
            radius_mm=radius_mm,
            line_angle_deg=line_angle_deg,
            first_depth_mm=first_depth_mm,
        ),
        device=device,
        stream=stream,
        keys=server_keys(key, allow),
        insecure=insecure,
    )
    configure("text")
    source = IgtlSource(config, report=_say)
    with stop_on_signals(source.stop), source:
        _say(f"rf on {source.endpoint} (pub), from OpenIGTLink at {receive}; Ctrl-C ends")
        source.run()
        summary = f"{source.sent} frames sent, refused {source.refused.total}"
    _say(summary)


def _say(line: str) -> None:
    typer.echo(f"bridge: {line}")
