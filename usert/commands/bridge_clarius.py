"""`usert bridge clarius`: RF of a Clarius probe, by the maker's own Python module."""

from __future__ import annotations

from pathlib import Path

from usert.commands.bridge_line import say
from usert.commands.keys import ALLOW_HELP, KEY_HELP, server_keys
from usert.commands.option import option, switch


def clarius(
    receive: str = option(
        ..., "HOST:PORT", "Address and Cast port of the probe, as the Clarius App shows them."
    ),
    publish: str = option(..., "ENDPOINT", "Bind here, for `usert serve --rf`; port 0 is any free one."),
    cast: Path | None = option(
        None,
        "DIR",
        "Folder of the maker's libraries (pyclariuscast), of the App's very version; by default where Python looks.",
    ),
    f0_mhz: float | None = option(None, "F", "Centre frequency of the pulse."),
    probe: str = option(
        "",
        "NAME",
        "Instead of --f0-mhz: L20, L15, L7, EC7, C7, C3, PH, PA2, PAL-phased or PAL-linear, for the centre frequency "
        "that the maker publishes of it (HD3).",
    ),
    fs_mhz: float | None = option(
        None, "F", "Sampling frequency along depth, instead of the one that the microns of a sample give."
    ),
    sound_speed: float = option(1540.0, "C", "Speed of sound in m/s."),
    radius_mm: float | None = option(
        None, "MM", "Radius of a curved array, 0 of a phased one; by default lines are parallel."
    ),
    line_angle_deg: float | None = option(
        None,
        "DEG",
        "Angle between neighbouring lines; by default, of a curved array, their distance over the radius.",
    ),
    first_depth_mm: float = option(0.0, "MM", "Depth of the first row below the array."),
    stream: str = option("clarius", "NAME", "Name of the stream."),
    key: Path | None = option(None, "SECRET", KEY_HELP),
    allow: Path | None = option(None, "DIR", ALLOW_HELP),
    insecure: bool = switch("--insecure", "Allow --publish without keys on other machines: unencrypted."),
) -> None:
    """Receive RF of a Clarius probe by the maker's Cast library, for `usert serve`; Ctrl-C ends.

    Connects again to a probe that is lost. RF mode and its streaming are turned on in the Clarius App.
    """
    from usert.log_format import configure
    from usert.runtime.bridges.clarius_frames import ClariusReading
    from usert.runtime.bridges.clarius_source import ClariusConfig, ClariusSource
    from usert.signals import stop_on_signals

    config = ClariusConfig(
        receive=receive,
        publish=publish,
        reading=ClariusReading(
            f0_hz=None if f0_mhz is None else 1e6 * f0_mhz,
            probe=probe,
            fs_hz=None if fs_mhz is None else 1e6 * fs_mhz,
            sound_speed_m_s=sound_speed,
            radius_mm=radius_mm,
            line_angle_deg=line_angle_deg,
            first_depth_mm=first_depth_mm,
        ),
        cast=cast,
        stream=stream,
        keys=server_keys(key, allow),
        insecure=insecure,
    )
    configure("text")
    source = ClariusSource(config, report=say)
    with stop_on_signals(source.stop), source:
        say(f"rf on {source.endpoint} (pub), from the Clarius at {receive}; Ctrl-C ends")
        source.run()
        # before the maker's library is closed, which is told to crash there (clariusdev/cast issue 30)
        say(
            f"{source.sent} frames sent, dropped {source.dropped}, B-mode {source.b_images}, "
            f"refused {source.refused.total}"
        )
