"""`usert bench`: how fast and how exact the engines are here."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.engine import AT_ONCE_HELP
from usert.commands.interrupt import interrupt, stoppable
from usert.commands.option import option, switch


def bench(
    bundle: list[Path] = option(
        [],
        "DIR",
        "Bundle to use instead of the default one: a folder, default or small; may be repeated. Accuracy is against "
        "float32 of the first.",
    ),
    engine: list[str] = option(
        [],
        "NAME",
        "openvino, onnxruntime, onnxruntime-cuda, torch, …; may be repeated; by default all that work here.",
    ),
    precision: list[str] = option(
        [], "float32|float16|int8", "May be repeated; by default those in the bundle."
    ),
    shape: list[str] = option(
        [], "NxM", "Frame shape; may be repeated; by default those that the bundle has graphs for."
    ),
    iq: int | None = option(
        None, "K", "Frames of IQ instead of RF: demodulated at f0, one sample of K of --shape."
    ),
    threads: int | None = option(None, "N", "Threads of each engine; all cores by default."),
    at_once: int | None = option(None, "N", AT_ONCE_HELP),
    follow: bool = switch(
        "--follow",
        "Start images from the motion of those before, as `usert serve --follow` does, on frames in sequence.",
    ),
    seconds: float | None = option(
        None,
        "S",
        "Time for each variant; by default 10, with --critical-rate 120, and there 40 frames a trial at least.",
    ),
    rounds: int | None = option(
        None,
        "N",
        "Measurements into which that time is split; variants alternate; by default 5, with --critical-rate 30.",
    ),
    rate: float | None = option(
        None,
        "HZ",
        "Rate at which frames arrive, whether or not the engine is free; by default each follows the last.",
    ),
    every_frame: bool = switch(
        "--every-frame", "Queue frames that find the engine busy, instead of dropping all but the newest."
    ),
    pause: float = option(
        0.0, "S", "Idle time before each measurement, to see what the first frame after it costs."
    ),
    wire: bool = switch(
        "--wire", "Run over real sockets: simulated scanner, `usert serve` and a client, a process each."
    ),
    rf: str | None = option(
        None, "ENDPOINT", "With --wire: endpoint of a scanner that publishes, instead of the simulated one."
    ),
    critical_rate: bool = switch(
        "--critical-rate",
        "Find, over real sockets, the highest frame rate at which 99 of 100 frames have their image within --limit-ms, "
        "by noisy bisection, and confirm it.",
    ),
    limit_ms: float | None = option(
        None, "MS", "With --critical-rate: limit of an image's age at the client; by default two frame times."
    ),
    hold: float | None = option(
        None, "S", "With --critical-rate: how long the rate is confirmed; by default 10, at least 100 frames."
    ),
    insecure: bool = switch("--insecure", "With --rf: allow an endpoint on another machine without keys."),
    gpu_peak: str | None = option(
        None,
        "TFLOPS,GBS",
        "Rates of the GPU, for the least possible time of what runs on it; they are not measured.",
    ),
    json_file: Path | None = option(None, "FILE", "Write the JSON object to a file as well.", "--json"),
    csv_file: Path | None = option(None, "FILE", "Write the rows as CSV.", "--csv"),
    plot: Path | None = option(None, "PNG", "Draw the latencies."),
) -> None:
    """Time every engine that works here, side by side, with its accuracy and the least time possible.

    Answers are checked before they are timed. Latency counts from when a frame was due. Progress goes to stderr; the
    last line on stdout is one JSON object. Ends with 1 if an engine's answer was wrong, or a search for a rate
    could not be ended.
    """
    from usert.bundle import default_bundle_path
    from usert.commands.engine import open_named
    from usert.commands.shape_option import parse_shape
    from usert.errors import FAULT, OptionError
    from usert.output_file import check_output_file
    from usert.runtime.bench.benchmark import Benchmark
    from usert.runtime.bench.config import BenchConfig, parse_rates
    from usert.runtime.bench.plot import draw_plot
    from usert.runtime.bench.report import to_csv, to_json, told, write
    from usert.runtime.offline.figure import save_png
    from usert.signals import stop_on_signals

    for flag, path in (("--json", json_file), ("--csv", csv_file), ("--plot", plot)):
        if path is not None:
            drawn = flag == "--plot"
            check_output_file(path, option=flag, suffix=".png" if drawn else "", device=not drawn)
    if json_file is not None and csv_file is not None and json_file.resolve() == csv_file.resolve():
        raise OptionError(f"--csv: got {csv_file}, as --json, expected another file")
    config = BenchConfig(
        bundles=tuple(bundle) or (default_bundle_path(),),
        engines=tuple(engine),
        precisions=tuple(precision),
        shapes=tuple(parse_shape(text) for text in shape),
        iq=iq,
        threads=threads,
        at_once=at_once,
        follow=follow,
        seconds=(120.0 if critical_rate else 10.0) if seconds is None else seconds,
        rounds=(30 if critical_rate else 5) if rounds is None else rounds,
        rate_hz=rate,
        every_frame=every_frame,
        pause_s=pause,
        wire=wire or critical_rate,
        rf=rf,
        critical=critical_rate,
        limit_ms=limit_ms,
        hold_s=hold,
        insecure=insecure,
        gpu_rates=None if gpu_peak is None else parse_rates(gpu_peak),
    )

    with stoppable(", nothing was written"), stop_on_signals(interrupt):
        report = Benchmark(config, open_named, lambda line: typer.echo(f"bench: {line}", err=True)).run()
    for line in told(report):
        typer.echo(line)
    text = to_json(report)
    if json_file is not None:
        write(json_file, text + "\n")
    if csv_file is not None:
        write(csv_file, to_csv(report))
    if plot is not None:
        title = f"usert bench: {report.mode}, {report.machine['cpu']}"
        save_png(draw_plot(report.rows, title=title), plot)
    typer.echo(text)
    if any(row["error"] is not None or row["search_fault"] is not None for row in report.rows):
        raise typer.Exit(FAULT)
