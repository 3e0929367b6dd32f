"""Options of `usert serve`, in groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from usert.commands.engine import AT_ONCE_HELP, BUNDLE, ENGINE, PRECISION
from usert.commands.keys import ALLOW_HELP, KEY_HELP, server_keys, source_keys
from usert.commands.option import option, switch
from usert.errors import OptionError

if TYPE_CHECKING:
    from usert.runtime.imaging.strain_ratio import Rectangle
    from usert.runtime.transport.keys import Keys, ServerKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Options of the frames that come."""

    rf: list[str] = option(
        ..., "ENDPOINT", "Endpoint of RF or IQ frames, tcp://HOST:PORT or ipc://PATH; may be repeated."
    )
    rf_type: str = option("sub", "sub|pull", "Type of the socket towards the source: SUB or PULL.")
    rf_bind: bool = switch("--rf-bind", "Bind --rf, for a source that connects, instead of connecting.")
    rows: str | None = option(
        None,
        "A:B",
        "Samples along depth to use, B left out: where rows at an end hold nothing. Depth counts from A.",
    )
    every_frame: bool = switch(
        "--every-frame",
        "Make an image of every frame, however late, instead of the newest alone: for replays.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Options of the images that are published."""

    publish: str = option(..., "ENDPOINT", "Endpoint of strain images, for clients; port 0 is any free one.")
    lag: str = option(
        "auto", "auto|L", "Frames from the first to the second of a pair; auto follows the motion."
    )
    follow: bool = switch(
        "--follow",
        "Start from the motion of an image just made, in about .6 of the time; from nothing at any doubt. Such images "
        "depend on those before, so `usert rerun` finds them different.",
    )
    persistence: float = option(
        0.0, "W", "Weight of past images in a running mean, from 0 (none) to below 1; .4 is mild."
    )
    target: str | None = option(
        None, "RECT", "Rectangle of the strain ratio: depth,lateral in mm, such as 10:14.5,3:8."
    )
    background: str | None = option(None, "RECT", "Rectangle that --target is compared with.")
    deadline_ms: float = option(
        200.0, "MS", "Age at publication beyond which a live image misses its deadline."
    )

    def rectangles(self) -> tuple[Rectangle, Rectangle] | None:
        """Target and background of the strain ratio; None without both. Errors: `OptionError`."""
        from usert.runtime.imaging.strain_ratio import Rectangle

        if (self.target is None) != (self.background is None):
            raise OptionError(
                "strain ratio: got one rectangle, expected --target and --background, or neither"
            )
        if self.target is None or self.background is None:
            return None
        return Rectangle.parse(self.target), Rectangle.parse(self.background)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Options of the engine and what it runs."""

    bundle: Path | None = BUNDLE
    engine: str = ENGINE
    precision: str | None = PRECISION
    threads: int | None = option(None, "N", "Threads of the engine; all cores by default.")
    at_once: int | None = option(None, "N", AT_ONCE_HELP)
    shape: list[str] = option(
        [], "NxM", "Warm up for frames of this shape before the start; may be repeated."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Options of who may connect."""

    key: Path | None = option(None, "SECRET", KEY_HELP)
    allow: Path | None = option(None, "DIR", f"Viewers. {ALLOW_HELP}")
    rf_key: Path | None = option(None, "PUBLIC", "Public key of the source at --rf, the only one accepted.")
    rf_allow: Path | None = option(None, "DIR", f"With --rf-bind: sources. {ALLOW_HELP}")
    control_allow: Path | None = option(None, "DIR", f"Who may send commands. {ALLOW_HELP}")
    insecure: bool = switch("--insecure", "Allow endpoints that other machines can reach without keys.")

    def keys(self, *, rf_binds: bool) -> tuple[ServerKeys | None, Keys | None, ServerKeys | None]:
        """Keys of the sockets for images, RF frames and commands, all with the pair of `key`. Errors: `OptionError`."""
        rf_keyed = self.rf_allow is not None or self.rf_key is not None
        elsewhere = rf_keyed or self.control_allow is not None
        return (
            server_keys(None if elsewhere and self.allow is None else self.key, self.allow),
            source_keys(
                binds=rf_binds,
                key=self.key if rf_keyed else None,
                allow=self.rf_allow,
                server=self.rf_key,
                options=("--rf-allow", "--rf-key"),
            ),
            server_keys(
                None if self.control_allow is None else self.key, self.control_allow, option="--control-allow"
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Options of what is recorded."""

    record: Path | None = option(
        None, "PATH", "Record frames and images: a new HDF5 file, or a folder for a file per run."
    )
    record_displacement: bool = switch(
        "--record-displacement", "Record displacement as well, instead of its hash."
    )
    record_folder: Path | None = option(None, "DIR", "Folder of the records of `usert control record`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Options of how the server is operated."""

    control: str | None = option(
        None, "ENDPOINT", "Endpoint of commands, for `usert status` and `usert control`."
    )
    monitor: str | None = option(
        None, "HOST:PORT", "Address of GET /metrics (Prometheus) and GET /health; port 0 is any free one."
    )
    log_format: str = option("text", "text|json", "Format of the log on stderr.")
    standby: bool = switch(
        "--standby", "Keep a second process ready, which takes over when the server dies; needs fixed ports."
    )
