"""A live server for an hour: does anything grow, slow down or get lost?

`usert serve --record` with its default engine, the simulated hand at HZ frames a second, a viewer, and one that comes
and goes each minute. A row a minute: images a second, age at publication, and what the server's process holds. Then the
straight lines through these; `flat` is as in `vitals`, the first fifth left out.
Asserts that the books balance, to the frame, and that the record holds what the server received. About 3 MB a second
on disk, removed at the end.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from live_server import LiveServer, books
from observer import Observer
from record_faults import on_record
from source_process import SourceConfig, SourceProcess
from vitals import Trend, spread

from usert.commands.shape_option import parse_shape
from usert.evaluation.markdown import markdown

_SETTLING = 0.2
_LEAST_ROWS = 3
_SAMPLE_S = 5.0
_STAY_S = 5.0
"""Of the viewer that comes and goes."""
_COLUMNS = "images (Hz)", "age p50", "age p99", "RSS (MB)", "files", "threads", "CPU (%)"


def soak(
    shape: tuple[int, int], rate_hz: float, minutes: float, folder: Path, arguments: list[str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row a minute, or a tenth of the run where that is shorter; and the summary."""
    path = folder / "r.h5"
    with (
        LiveServer(["--record", str(path), *arguments]) as server,
        SourceProcess(SourceConfig(endpoint=server.rf, shapes=(shape,))) as source,
        Observer(server.publish) as viewer,
    ):
        need = 60 * minutes * rate_hz * shape[0] * shape[1] * (2 + 8)
        assert shutil.disk_usage(folder).free > 2 * need, (
            f"{folder}: too little space for {need / 1e9:.0f} GB"
        )
        source.order(rate_hz=rate_hz)
        viewer.wait(lambda image: image.state == "live", timeout_s=120)
        rows: list[dict[str, Any]] = []
        period_s = min(60.0, 6 * minutes)
        start_s = time.monotonic()
        while time.monotonic() - start_s < 60 * minutes - 0.5:
            rows.append(watch(server, viewer, period_s, start_s))
            rows[-1] |= {"record (MB)": sum(part.stat().st_size for part in folder.iterdir()) / 1e6}
            print(markdown(rows[-1:]).splitlines()[-1], flush=True)
        sent = source.rest()
        viewer.rest()
        counts = server.end()
        said = server.line(r"record: (.*)")[1]
        assert viewer.malformed == {}, viewer.malformed
    assert counts["received"] + counts["lost"] == sent.frames, f"sent {sent.frames}, {server.summary}"
    assert books(counts), server.summary
    kept, missing = on_record(path)
    assert kept + missing == counts["received"], f"on record {kept}, missing {missing}, {server.summary}"
    heard = {"sent": sent.frames, "late": sent.late, "images heard": len(viewer.seen)}
    return rows, heard | counts | {"frames on record": kept, "missing there": missing, "record": said}


def watch(server: LiveServer, viewer: Observer, period_s: float, start_s: float) -> dict[str, Any]:
    """One row."""
    begin, begin_s, before = len(viewer.seen), time.monotonic(), server.vitals
    samples = [before]
    with Observer(server.publish):
        time.sleep(min(_STAY_S, period_s / 2))
    while (left_s := begin_s + period_s - time.monotonic()) > 0:
        time.sleep(min(left_s, _SAMPLE_S))
        samples.append(server.vitals)
    took_s, seen = time.monotonic() - begin_s, viewer.seen[begin:]
    ages = spread([image.published_age_ms for image in seen], "age")
    return {
        "minute": (time.monotonic() - start_s) / 60,
        "images (Hz)": len(seen) / took_s,
        **ages,
        "RSS (MB)": float(np.median([some.rss_mb for some in samples])),
        "files": samples[-1].files,
        "threads": samples[-1].threads,
        "CPU (%)": 100 * (samples[-1].cpu_s - before.cpu_s) / took_s,
    }


def trends(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines through the columns."""
    settled = rows[round(_SETTLING * len(rows)) :]
    found = []
    for column in _COLUMNS:
        known = [row for row in settled if row[column] != ""]  # no image came: no age
        if len(known) < _LEAST_ROWS:
            continue
        trend = Trend.of([60 * row["minute"] for row in known], [row[column] for row in known])
        found.append({"of": column, "mean, a minute": str(trend), "rise": trend.rise, "flat": trend.flat})
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=20.0, help="frames a second")
    parser.add_argument("--shape", default="256x64")
    parser.add_argument("--folder", type=Path, help="for the record; a temporary one if not given")
    parser.add_argument("serve", nargs="*", help="options of usert serve, after --")


def run(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        shape, serve = parse_shape(options.shape), options.serve
        rows, summary = soak(shape, options.rate, options.minutes, Path(folder), serve)
    return {"minutes": rows, "trends": trends(rows), "summary": [summary]}
