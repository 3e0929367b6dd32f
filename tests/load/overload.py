"""More frames than the engine can take: are images young, is memory flat, do the books balance?

`usert serve` with its default engine, the simulated scanner in a process of its own at F times the engine's rate, a
viewer. `engine` is from `started_ns` to `published_ns`, during the overload. Age is at publication; its ceiling is
twice the engine's median. Asserts that sent = received + lost, and received = dropped + used, to the frame. PUSH
waits where the server does not take its frames; PUB loses them.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from live_server import LiveServer, books
from observer import Observer
from source_process import SourceConfig, SourceProcess
from vitals import Trend, spread

from usert.commands.shape_option import parse_shape
from usert.evaluation.markdown import markdown

_SLOW_HZ = 2.0
_SLOW_FRAMES = 12
_SAMPLE_S = 2.0
_SETTLING = 0.25
"""Share of the samples of memory that are left out: buffers are still growing to their size."""


def overload(
    kind: str, shape: tuple[int, int], minutes: float, factor: float, arguments: list[str]
) -> dict[str, Any]:
    """One run; the source's socket is `kind`."""
    with (
        LiveServer(arguments, rf_type="pull" if kind == "push" else "sub") as server,
        SourceProcess(SourceConfig(endpoint=server.rf, kind=kind, shapes=(shape,))) as source,  # type: ignore[arg-type]
        Observer(server.publish) as viewer,
    ):
        source.order(rate_hz=_SLOW_HZ)
        viewer.wait(lambda image: True, timeout_s=120)  # the engine is open
        source.order(rate_hz=_SLOW_HZ, count=_SLOW_FRAMES)
        slowly = source.wait(60).frames
        idle_ms = min(image.worked_ms for image in viewer.rest()[-_SLOW_FRAMES // 2 :])
        # what PUB sent before its receiver had subscribed was never on its way
        counters = viewer.seen[-1].counters
        before = slowly - counters["received"] - counters.get("lost", 0)
        assert before == 0 or kind == "pub", f"{before} frames are missing"
        begin = len(viewer.seen)
        at: list[float] = []
        memory: list[float] = []
        source.order(rate_hz=factor * 1e3 / idle_ms)
        start_s = time.monotonic()
        while (now_s := time.monotonic() - start_s) < 60 * minutes:
            at.append(now_s)
            memory.append(server.vitals.rss_mb)
            time.sleep(min(_SAMPLE_S, minutes * 6))
        overloaded = source.rest()
        took_s = time.monotonic() - start_s
        seen = viewer.rest()[begin:]
        source.order(rate_hz=_SLOW_HZ, count=3)  # these arrive: no frame at the end is lost unseen
        sent = source.wait(60)
        viewer.rest()
        counts = server.end()
    arrived = counts["received"] + counts["lost"]
    assert sent.frames - before == arrived, f"sent {sent.frames}, before {before}, {server.summary}"
    assert books(counts), server.summary
    settled = round(_SETTLING * len(at))
    trend = Trend.of(at[settled:], memory[settled:])
    engine = [image.worked_ms for image in seen]
    return {
        "socket": kind,
        "minutes": minutes,
        "asked (Hz)": factor * 1e3 / idle_ms,
        "sent (Hz)": (overloaded.frames - slowly) / took_s,
        "images (Hz)": len(seen) / took_s,
        **{f"engine {key} (ms)": value for key, value in spread(engine).items() if key != "p90"},
        **spread([image.published_age_ms for image in seen], "age (ms)", 2 * float(np.median(engine))),
        "RSS (MB a minute)": str(trend),
        "flat": trend.flat,
        "sent": sent.frames - before,
        "lost": counts["lost"],
        "dropped": counts["dropped"],
        "used": counts["received"] - counts["dropped"],
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10.0, help="of each run")
    parser.add_argument("--factor", type=float, default=4.0, help="of the engine's rate")
    parser.add_argument("--sockets", default="push,pub")
    parser.add_argument("--shape", default="512x128")
    parser.add_argument("serve", nargs="*", help="options of usert serve, after --")


def run(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    shape = parse_shape(options.shape)
    rows: list[dict[str, Any]] = []
    for kind in options.sockets.split(","):
        rows.append(overload(kind, shape, options.minutes, options.factor, options.serve))
        print(markdown(rows[-1:]), flush=True)
    return {"rows": rows}
