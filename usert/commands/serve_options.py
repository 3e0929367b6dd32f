"""Options of `usert serve`, in groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from usert.commands.engine import HELP, PRECISION_HELP
from usert.commands.keys import ALLOW_HELP, KEY_HELP
from usert.commands.option_group import OptionGroup, option, switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(OptionGroup):
    """Options of the frames that come."""

    panel: ClassVar[str] = "Source"

    rf: Annotated[
        list[str],
        option("ENDPOINT", "Endpoint of RF or IQ frames, tcp://HOST:PORT or ipc://PATH; may be repeated."),
    ]
    rf_type: Annotated[str, option("sub|pull", "Type of the socket towards the source: SUB or PULL.")] = "sub"
    rf_bind: Annotated[
        bool, switch("--rf-bind", "Bind --rf, for a source that connects, instead of connecting.")
    ] = False
    rows: Annotated[
        str | None,
        option(
            "A:B",
            "Samples along depth to use, B left out: where rows at an end hold nothing. Depth counts from A.",
        ),
    ] = None
    every_frame: Annotated[
        bool,
        switch(
            "--every-frame",
            "Make an image of every frame, however late, instead of the newest alone: for replays.",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Images(OptionGroup):
    """Options of the images that are published."""

    panel: ClassVar[str] = "Images"

    publish: Annotated[
        str, option("ENDPOINT", "Endpoint of strain images, for clients; port 0 is any free one.")
    ]
    lag: Annotated[
        str, option("auto|L", "Frames from the first to the second of a pair; auto follows the motion.")
    ] = "auto"
    persistence: Annotated[
        float, option("W", "Weight of past images in a running mean, from 0 (none) to below 1; .4 is mild.")
    ] = 0.0
    target: Annotated[
        str | None, option("RECT", "Rectangle of the strain ratio: depth,lateral in mm, such as 10:14.5,3:8.")
    ] = None
    background: Annotated[str | None, option("RECT", "Rectangle that --target is compared with.")] = None
    deadline_ms: Annotated[
        float, option("MS", "Age at publication beyond which a live image misses its deadline.")
    ] = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions(OptionGroup):
    """Options of the engine and what it runs."""

    panel: ClassVar[str] = "Engine"

    bundle: Annotated[Path | None, option("DIR", "Bundle to use instead of the default one.")] = None
    engine: Annotated[str, option("NAME", HELP)] = "best"
    precision: Annotated[str | None, option("NAME", PRECISION_HELP)] = None
    threads: Annotated[int | None, option("N", "Threads of the engine; all cores by default.")] = None
    shape: Annotated[
        list[str], option("NxM", "Warm up for frames of this shape before the start; may be repeated.")
    ] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access(OptionGroup):
    """Options of who may connect."""

    panel: ClassVar[str] = "Access"

    key: Annotated[Path | None, option("SECRET", KEY_HELP)] = None
    allow: Annotated[Path | None, option("DIR", f"Viewers. {ALLOW_HELP}")] = None
    rf_key: Annotated[
        Path | None, option("PUBLIC", "Public key of the source at --rf, the only one accepted.")
    ] = None
    rf_allow: Annotated[Path | None, option("DIR", f"With --rf-bind: sources. {ALLOW_HELP}")] = None
    control_allow: Annotated[Path | None, option("DIR", f"Who may send commands. {ALLOW_HELP}")] = None
    insecure: Annotated[
        bool, switch("--insecure", "Allow endpoints that other machines can reach without keys.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Records(OptionGroup):
    """Options of what is recorded."""

    panel: ClassVar[str] = "Records"

    record: Annotated[
        Path | None,
        option("PATH", "Record frames and images: a new HDF5 file, or a folder for a file per run."),
    ] = None
    record_displacement: Annotated[
        bool, switch("--record-displacement", "Record displacement as well, instead of its hash.")
    ] = False
    record_folder: Annotated[
        Path | None, option("DIR", "Folder of the records of `usert control record`.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(OptionGroup):
    """Options of how the server is operated."""

    panel: ClassVar[str] = "Operation"

    control: Annotated[
        str | None, option("ENDPOINT", "Endpoint of commands, for `usert status` and `usert control`.")
    ] = None
    monitor: Annotated[
        str | None,
        option("HOST:PORT", "Address of GET /metrics (Prometheus) and GET /health; port 0 is any free one."),
    ] = None
    log_format: Annotated[str, option("text|json", "Format of the log on stderr.")] = "text"
    standby: Annotated[
        bool,
        switch(
            "--standby",
            "Keep a second process ready, which takes over when the server dies; needs fixed ports.",
        ),
    ] = False
