"""`usert bridge`: live streams from and to other programs.

A bridge is a process of its own, and to the live server a viewer or a source like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import typer

from usert.commands.bridge_clarius import clarius
from usert.commands.bridge_line import say
from usert.commands.bridge_plain import shm, tcp
from usert.commands.image_options import Images
from usert.commands.keys import ALLOW_HELP, KEY_HELP, server_keys
from usert.commands.option import grouped, option, switch

_INSECURE_HELP = "Allow OpenIGTLink, and endpoints without keys, on other machines: unencrypted."

bridge = typer.Typer(help="Connect live streams to other programs.", no_args_is_help=True)
bridge.command("clarius")(clarius)
bridge.command("tcp")(tcp)
bridge.command("shm")(shm)


@bridge.command("igtl")
@grouped
def igtl(
    *,
    images: Images,
    host: str = option("127.0.0.1", "HOST", "Host that OpenIGTLink clients connect to."),
    port: int = option(18944, "PORT", "Port that they connect to; 0 is any free one."),
    prefix: str = option(
        "usert", "NAME", "Devices are named NAME_strain, NAME_quality, NAME_bmode, NAME_status."
    ),
    blank: float = option(-100.0, "PERCENT", "Strain that is sent for pixels that must not be read."),
    stale_ms: float = option(500.0, "MS", "An image older than this is called stale, and sent blank."),
    insecure: bool = switch("--insecure", _INSECURE_HELP),
) -> None:
    """Send strain, quality, B-mode and status to OpenIGTLink clients, such as 3D Slicer; Ctrl-C ends.

    Waits for the server, and continues when it starts again.
    """
    from usert.log_format import configure
    from usert.runtime.bridges.igtl_bridge import BridgeConfig, IgtlBridge
    from usert.signals import stop_on_signals

    config = BridgeConfig(
        **images.source(),
        host=host,
        port=port,
        prefix=prefix,
        stale_ms=stale_ms,
        blank_percent=blank,
        insecure=insecure,
    )
    configure("text")
    sender = IgtlBridge(config, report=say)
    with stop_on_signals(sender.stop), sender:
        say(f"OpenIGTLink on {sender.address}, devices {prefix}_strain and others; Ctrl-C ends")
        sender.run()
        clients = sender.broadcaster
        summary = (
            f"{sender.received} images received, skipped {sender.skipped}, sent {sender.sent}, "
            f"clients {clients.served}, disconnected {clients.disconnected}, rejected {clients.rejected}"
        )
    say(summary)


@bridge.command("igtl-rf")
def igtl_rf(
    receive: str = option(
        ..., "HOST:PORT", "An OpenIGTLink server that sends RF or IQ frames as images, such as PLUS."
    ),
    publish: str = option(..., "ENDPOINT", "Bind here, for `usert serve --rf`; port 0 is any free one."),
    f0_mhz: float = option(..., "F", "Centre frequency of the pulse."),
    fs_mhz: float | None = option(
        None, "F", "Sampling frequency along depth, instead of the one that the image's spacing gives."
    ),
    line_pitch_mm: float | None = option(
        None, "MM", "Distance of neighbouring scan lines, instead of the image's spacing."
    ),
    sound_speed: float = option(1540.0, "C", "Speed of sound in m/s."),
    transpose: bool = switch("--transpose", "Rows of the image are scan lines, as in RF frames of PLUS."),
    orientation: str = option(
        "", "LETTERS", "Directions of the image's axes by PLUS' letters: FM is samples first, MF lines first."
    ),
    kind: str = typer.Option(
        "rf",
        help="rf; rf-lines: a line of RF, a line of its Hilbert transform; iq: two components a pixel; iq-pairs: I and "
        "Q in turns along depth; iq-lines: a line of I, a line of Q.",
    ),
    demodulation_mhz: str | None = option(
        None,
        "MHZ",
        "Of IQ: the demodulation frequency; row:MHZ,row:MHZ,… where it changes with depth.",
    ),
    radius_mm: float | None = option(
        None, "MM", "Radius of a curved array, 0 of a phased one; by default lines are parallel."
    ),
    line_angle_deg: float | None = option(
        None, "DEG", "Angle between neighbouring lines of a curved or phased array."
    ),
    first_depth_mm: float = option(0.0, "MM", "Depth of the image's first row below the array."),
    device: str = option("", "NAME", "Device to receive; by default the first whose image is an RF frame."),
    stream: str = option("", "NAME", "Name of the stream; by default that of the device."),
    key: Path | None = option(None, "SECRET", KEY_HELP),
    allow: Path | None = option(None, "DIR", ALLOW_HELP),
    insecure: bool = switch("--insecure", _INSECURE_HELP),
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
            orientation=orientation,
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
    source = IgtlSource(config, report=say)
    with stop_on_signals(source.stop), source:
        say(f"rf on {source.endpoint} (pub), from OpenIGTLink at {receive}; Ctrl-C ends")
        source.run()
        summary = f"{source.sent} frames sent, refused {source.refused.total}"
    say(summary)
