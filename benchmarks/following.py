"""A recorded press with a jump in it, pair by pair and live, with pairs that follow and with each from nothing.

    python benchmarks/following.py [--parts pairs,live] [--engine openvino] [--lags 1,4] [--rates 20,60] [--seconds S]
        [--threads 1] [--at-once 1] [--shape 512x128]

The press goes to 5 % and back in 24 frames of a trembling hand; before frame 17 the probe jumps by 30 to 50 samples.
`pairs`: each image twice by one engine, from nothing and as `FollowingEngine` gives it. Found: axial error below a
quarter of a wavelength. `worst`: largest axial error, samples, of what is readable. `apart`: largest axial difference
of both where both are readable. `late`: images after the last pair over the jump that are less readable than from
nothing. CPU is that of the process for an image; with several pairs at once, each in a thread of its own, a mean over
all. `live`: `usert serve` with and without `--follow`, one process each, on what `usert replay` sends, frames of
`--shape`. Asserts that an image which follows
is nowhere readable and a quarter of a wavelength off. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from usert.bundle import Bundle, default_bundle_path
from usert.evaluation.markdown import markdown
from usert.frame import Scan
from usert.machine import cpu_name
from usert.phantom.beam import Beam
from usert.phantom.field import Field, Rigid, Scaled, Sum
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.phantom.scatterers import Scatterers
from usert.quality import READABLE_QUALITY
from usert.recording import write_recording
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines import open_engine
from usert.runtime.engines.following import FollowingEngine
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.record.contents import Record

FRAMES, JUMP = 27, 17
STRAIN = (0, 2, 12, 14, 24, FRAMES), (0, 0, 1, 1, 0, 0)
"""Frames, and share of the deepest press in them."""
Row = dict[str, Any]


class Press(SimulatedScanner):
    """One press: tremor (samples, rms), and a jump of the probe along depth (samples) and across (lines)."""

    def __init__(self, config: ScannerConfig, seed: int, *, tremor: float, jump: tuple[float, float]) -> None:
        super().__init__(replace(config, period_frames=FRAMES), seed)
        rng, frames = np.random.default_rng((seed, 2)), np.arange(FRAMES)
        self.press = config.peak_strain * np.interp(frames, *STRAIN)
        self.depth = 0.7 * np.cumsum(rng.normal(0, tremor, FRAMES)) + rng.normal(0, tremor, FRAMES)
        self.side = rng.normal(0, 0.3, FRAMES)
        self.depth[JUMP:] += jump[0]
        self.side[JUMP:] += jump[1]

    def _state(self, k: int) -> Field:
        scan = self.scan
        shift = Rigid(dz_mm=self.depth[k] * scan.axial_pitch_mm, dx_mm=self.side[k] * scan.line_pitch_mm)
        return Sum(fields=(Scaled(field=self.lesion, scale=float(self.press[k])), shift))

    def _tissue(self, k: int) -> Scatterers:
        cloud, beside = self._slices
        angle = self.config.tilt * np.sin(2 * np.pi * k / 24 + 1)
        return replace(cloud, amplitude=np.cos(angle) * cloud.amplitude + np.sin(angle) * beside)


def presses() -> Iterator[tuple[str, Press]]:
    def scan(fs_mhz: float, f0_mhz: float, pitch_mm: float) -> Scan:
        return Scan(fs_hz=1e6 * fs_mhz, f0_hz=1e6 * f0_mhz, sound_speed_m_s=1540.0, line_pitch_mm=pitch_mm)

    plain: dict[str, Any] = {"peak_strain": 0.05, "tilt": 0.1, "noise": 0.03}
    typical = ScannerConfig(scan=scan(40, 6.5, 0.12), shape=(1024, 96), **plain)
    beam = Beam(fractional_bandwidth=0.5)
    sparse = ScannerConfig(scan=scan(20, 5, 0.3), shape=(768, 96), beam=beam, **plain)
    noisy = replace(typical, tilt=0.8, noise=0.35)
    small = replace(typical, shape=(512, 128))
    yield "typical, 40/6.5 MHz", Press(typical, 3, tremor=1.5, jump=(40, 3))
    yield "sparse, 20/5 MHz", Press(sparse, 3, tremor=1.0, jump=(30, 3))
    yield "noisy: .35 of the echoes, tilt .8", Press(noisy, 3, tremor=2.5, jump=(50, 3))
    yield "512 x 128, jump along depth alone", Press(small, 5, tremor=1.5, jump=(45, 0))


def pair_rows(engine: str, lags: list[int], *, threads: int, at_once: int) -> Iterator[Row]:
    bundle = Bundle.load(default_bundle_path())
    for name, press in presses():
        frames = [
            ReceivedFrame(frame=press.frame(k), stream=name, clock="", received_ns=k, session=1)
            for k in range(FRAMES)
        ]
        for lag in lags:
            opened = open_engine(bundle, engine=engine, threads=threads, at_once=at_once)
            with closing(FollowingEngine(opened)) as following:
                following.warm_up(frames[0].frame.shape, press.scan)
                row = compared(following, press, frames, lag, at_once=at_once)
                yield {"press": name, "lag": lag, "at once": at_once, **row}


def compared(
    following: FollowingEngine, press: Press, frames: list[ReceivedFrame], lag: int, *, at_once: int
) -> Row:
    rows, scan = frames[0].frame.shape[0], press.scan
    inner = slice(rows // 16, -(rows // 16)), slice(4, -4)
    quarter = 0.25 / scan.cycles_per_sample
    figures: dict[str, list[float]] = {}
    followed, late = [], 0
    firsts, nexts = frames[:-lag], frames[lag:]
    with ThreadPoolExecutor(at_once) as pool:
        start = time.process_time()
        all_alone = list(
            pool.map(lambda a, b: following.run(a.frame.samples, b.frame.samples, scan), firsts, nexts)
        )
        middle = time.process_time()
        all_with = list(pool.map(following.after, firsts, nexts))
        spent = [part / len(firsts) for part in (middle - start, time.process_time() - middle)]
    for k, alone, (got, follows) in zip(range(lag, FRAMES), all_alone, all_with, strict=True):
        truth = press.truth(k - lag, k)[0]
        followed.append(follows)
        both = (got.quality >= READABLE_QUALITY) & (alone.quality >= READABLE_QUALITY)
        for kind, found, used_s in zip(("alone", "with"), (alone, got), spent, strict=True):
            error = (found.displacement[0] - truth)[inner]
            right, readable = np.abs(error) < quarter, (found.quality >= READABLE_QUALITY)[inner]
            add(figures, f"found {kind}", right.mean())
            add(figures, f"readable {kind}", readable.mean())
            if right.any():
                add(figures, f"rmse {kind}", np.sqrt(np.mean(np.square(error[right]))))
            add(figures, f"worst {kind}", np.abs(error[readable]).max(initial=0.0))
            add(figures, f"CPU ms {kind}", 1e3 * used_s)
            if kind == "with" and follows and (readable & ~right).any():
                raise AssertionError(f"frame {k}: readable and wrong by more than a quarter of a wavelength")
        add(figures, "apart", np.abs(got.displacement - alone.displacement)[0][both].max(initial=0.0))
        less = figures["readable with"][-1] < figures["readable alone"][-1] - 0.02
        late += k >= JUMP + lag and less
    means = {name: round(float(np.mean(values)), 4) for name, values in figures.items()}
    return {
        "followed": f"{sum(followed)} of {len(followed)}",
        **means,
        **{name: round(max(figures[name]), 3) for name in ("worst alone", "worst with", "apart")},
        "late": late,
        "CPU ratio": round(means["CPU ms with"] / means["CPU ms alone"], 3),
    }


def add(figures: dict[str, list[float]], name: str, value: Any) -> None:
    figures.setdefault(name, []).append(float(value))


def live_rows(options: argparse.Namespace, rates: list[float], seconds: float) -> Iterator[Row]:
    """The press to and fro, in one session."""
    press = dict(presses())["512 x 128, jump along depth alone"]
    if options.shape != "512x128":
        rows, lines = (int(size) for size in options.shape.split("x"))
        press = Press(replace(press.config, shape=(rows, lines)), 5, tremor=1.5, jump=(45, 0))
    frames = [press.frame(k) for k in (*range(FRAMES), *range(FRAMES - 2, 0, -1))]
    with tempfile.TemporaryDirectory() as folder:
        for rate in rates:
            for follow in (False, True):
                recording = Path(folder) / f"press-{rate:g}-{follow}.h5"
                count = round(rate * seconds)
                write_recording(
                    recording,
                    (
                        replace(frames[n % len(frames)], sequence=n, time_ns=round(1e9 * n / rate))
                        for n in range(count)
                    ),
                )
                yield live(recording, options, rate, follow=follow)
                recording.unlink()


def live(recording: Path, options: argparse.Namespace, rate: float, *, follow: bool) -> Row:
    folder = recording.parent
    rf, strain = (f"ipc://{folder}/{name}-{rate:g}-{follow}" for name in ("rf", "strain"))
    record = folder / f"record-{rate:g}-{follow}.h5"
    usert = sys.executable, "-m", "usert"
    serve = [*usert, "serve", "--rf", rf, "--publish", strain, "--engine", options.engine]
    serve += ["--threads", str(options.threads), "--at-once", str(options.at_once), "--shape", options.shape]
    serve += ["--lag", "1", "--record", str(record), *(["--follow"] if follow else [])]
    replay = [*usert, "replay", str(recording), "--publish", rf, "--rate", f"{rate:g}"]
    ages: list[float] = []
    with (
        subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
        subprocess.Popen(replay, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        StrainClient(strain) as client,
    ):
        wait_s = 120.0
        while client.receive(wait_s) is not None and client.age is not None:
            ages.append(client.age.ms)
            wait_s = 3.0
        server.terminate()
    if not ages:
        raise SystemExit("no image")
    with Record(record) as made:
        followed = [name.endswith(b", following") for name in made.images["engine"]]
        count, score = len(made.recording), float(np.mean(made.images["score"]))
    p50, p99 = np.percentile(ages, (50, 99))
    return {
        "shape": options.shape,
        "frames a second": rate,
        "at once": options.at_once,
        "follow": "yes" if follow else "no",
        "images, of frames": round(len(followed) / count, 3),
        "a second": round(rate * len(followed) / count, 1),
        "followed": round(sum(followed) / len(followed), 2),
        "score": round(score, 3),
        "age p50, ms": round(float(p50), 1),
        "p99": round(float(p99), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", default="pairs,live")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--lags", default="1,4")
    parser.add_argument("--rates", default="20,60")
    parser.add_argument("--seconds", default=10.0, type=float)
    parser.add_argument("--threads", default=1, type=int)
    parser.add_argument("--at-once", default=1, type=int)
    parser.add_argument("--shape", default="512x128", help="of the part live")
    options = parser.parse_args()
    tables: dict[str, list[Row]] = {}
    for part in options.parts.split(","):
        if part == "pairs":
            lags = [int(lag) for lag in options.lags.split(",")]
            rows = pair_rows(options.engine, lags, threads=options.threads, at_once=options.at_once)
            tables[part] = list(rows)
        elif part == "live":
            rates = [float(rate) for rate in options.rates.split(",")]
            tables[part] = list(live_rows(options, rates, options.seconds))
        else:
            parser.error(f"--parts: got {part!r}, expected pairs or live")
        print(f"\n#### {part}\n\n{markdown(tables[part])}", flush=True)
    print(json.dumps({"machine": cpu_name(), **tables}))


if __name__ == "__main__":
    main()
