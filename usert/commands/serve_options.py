"""Options of `usert serve`, in groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from usert.commands.engine import HELP, PRECISION_HELP
from usert.commands.keys import ALLOW_HELP, KEY_HELP
from usert.commands.option_group import OptionGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(OptionGroup):
    """Options of the frames that come."""

    panel: ClassVar[str] = "Source"

    rf: Annotated[
        list[str],
        typer.Option(
            metavar="ENDPOINT",
            help="Endpoint of RF frames, tcp://HOST:PORT or ipc://PATH; may be repeated.",
        ),
    ]
    rf_type: Annotated[
        str, typer.Option(metavar="sub|pull", help="Type of the socket towards the source: SUB or PULL.")
    ] = "sub"
    rf_bind: Annotated[
        bool, typer.Option("--rf-bind", help="Bind --rf, for a source that connects, instead of connecting.")
    ] = False
    every_frame: Annotated[
        bool,
        typer.Option(
            "--every-frame",
            help="Make an image of every frame, however late, instead of the newest alone: for replays.",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Images(OptionGroup):
    """Options of the images that are published."""

    panel: ClassVar[str] = "Images"

    publish: Annotated[
        str,
        typer.Option(
            metavar="ENDPOINT", help="Endpoint of strain images, for clients; port 0 is any free one."
        ),
    ]
    lag: Annotated[
        str,
        typer.Option(
            metavar="auto|L", help="Frames from the first to the second of a pair; auto follows the motion."
        ),
    ] = "auto"
    persistence: Annotated[
        float,
        typer.Option(
            metavar="W", help="Weight of past images in a running mean, from 0 (none) to below 1; .4 is mild."
        ),
    ] = 0.0
    target: Annotated[
        str | None,
        typer.Option(
            metavar="RECT", help="Rectangle of the strain ratio: depth,lateral in mm, such as 10:14.5,3:8."
        ),
    ] = None
    background: Annotated[
        str | None, typer.Option(metavar="RECT", help="Rectangle that --target is compared with.")
    ] = None
    deadline_ms: Annotated[
        float,
        typer.Option(metavar="MS", help="Age at publication beyond which a live image misses its deadline."),
    ] = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions(OptionGroup):
    """Options of the engine and what it runs."""

    panel: ClassVar[str] = "Engine"

    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Bundle to use instead of the default one.")
    ] = None
    engine: Annotated[str, typer.Option(metavar="NAME", help=HELP)] = "best"
    precision: Annotated[str | None, typer.Option(metavar="NAME", help=PRECISION_HELP)] = None
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads of the engine; all cores by default.")
    ] = None
    shape: Annotated[
        list[str],
        typer.Option(
            metavar="NxM", help="Warm up for frames of this shape before the start; may be repeated."
        ),
    ] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access(OptionGroup):
    """Options of who may connect."""

    panel: ClassVar[str] = "Access"

    key: Annotated[Path | None, typer.Option(metavar="SECRET", help=KEY_HELP)] = None
    allow: Annotated[Path | None, typer.Option(metavar="DIR", help=f"Viewers. {ALLOW_HELP}")] = None
    rf_key: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC", help="Public key of the source at --rf, the only one accepted."),
    ] = None
    rf_allow: Annotated[
        Path | None, typer.Option(metavar="DIR", help=f"With --rf-bind: sources. {ALLOW_HELP}")
    ] = None
    control_allow: Annotated[
        Path | None, typer.Option(metavar="DIR", help=f"Who may send commands. {ALLOW_HELP}")
    ] = None
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Allow endpoints that other machines can reach without keys."),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Records(OptionGroup):
    """Options of what is recorded."""

    panel: ClassVar[str] = "Records"

    record: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Record frames and images: a new HDF5 file, or a folder for a file per run."
        ),
    ] = None
    record_displacement: Annotated[
        bool, typer.Option("--record-displacement", help="Record displacement as well, instead of its hash.")
    ] = False
    record_folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the records of `usert control record`.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(OptionGroup):
    """Options of how the server is operated."""

    panel: ClassVar[str] = "Operation"

    control: Annotated[
        str | None,
        typer.Option(
            metavar="ENDPOINT", help="Endpoint of commands, for `usert status` and `usert control`."
        ),
    ] = None
    monitor: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of GET /metrics (Prometheus) and GET /health; port 0 is any free one.",
        ),
    ] = None
    log_format: Annotated[str, typer.Option(metavar="text|json", help="Format of the log on stderr.")] = (
        "text"
    )
    standby: Annotated[
        bool,
        typer.Option(
            "--standby",
            help="Keep a second process ready, which takes over when the server dies; needs fixed ports.",
        ),
    ] = False
