"""What the rules of the live server are worth: lag, state, persistence and ratio, on recorded and simulated frames.

    python benchmarks/live_logic.py [--bundle FOLDER] [--rf ../shared/rf] [--tables lag,quality,…]

`lag`: see `hand_motion`. `quality`: which pixels may be read, on simulated frames. `frames`: recorded pairs, and
simulated ones without motion, as judged; a resting hand must come out still, a pressing one moving. `live`: the
simulated scanner through the engine with fixed lags and the rule's. `persistence`: error against truth by weight, how
much the image changes from one to the next, and the strain ratio with its spread. `time`: of each part. Prints
Markdown tables; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from hand_motion import Fixed, lag_table
from live_scene import Image, Scene
from numpy.typing import NDArray
from rf_pairs import alpinion, alpinion_large, arm, still

from usert.bundle import Bundle, default_bundle_path
from usert.errors import UsertError
from usert.evaluation.markdown import markdown
from usert.machine import cpu_name
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import nrmse
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import TYPICAL_SCAN, Engine
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.imaging.image_quality import ImageQualityRule, assess
from usert.runtime.imaging.lag import LagControl, LagRule
from usert.runtime.imaging.persistence import Persistence, PersistenceRule
from usert.runtime.imaging.strain_ratio import RatioMeter, RatioRule, Rectangle

SHAPES = (512, 128), (1920, 768)
INSIDE = slice(32, -32)
"""Samples that errors are taken over: at the ends tissue leaves the frame."""
SETTLED = 5
"""Images before which persistence is still filling."""
Rows = list[dict[str, Any]]


def quality_table(engine: Engine) -> Rows:
    """Pixels by their quality, and how many are wrong by a third of the mean strain, at strains up to too much."""
    found: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for strain, shape in product((0.01, 0.02, 0.03, 0.05, 0.08), ((512, 128), (1024, 128))):
        scene = Scene(engine, peak_strain=strain, shape=shape, tilt=0.05)
        for pair in ((0, 20), (20, 0)):
            estimate, truth = scene.pair(*pair), scene.truth(*pair)
            error = np.abs(estimate.strain - truth) / np.abs(truth.mean())
            found.append((estimate.quality[INSIDE, 4:-4].ravel(), error[INSIDE, 4:-4].ravel()))
    quality, error = (np.concatenate(values) for values in zip(*found, strict=True))
    rows: Rows = []
    for low, high in pairwise((0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)):
        inside = (quality >= low) & (quality < high)
        row = {"quality from": low, "pixels (%)": 100 * float(inside.mean())}
        row |= {"strain error, median": float(np.median(error[inside]))}
        rows.append(row | {"wrong by a third (%)": 100 * float((error[inside] > 1 / 3).mean())})
    return rows


def frames_table(engine: Engine, rf: Path) -> Rows:
    """Recorded pairs and simulated rest. Asserts which are still."""
    pairs = {"arm at rest": still(rf), "arm": arm(rf), "phantom": (*alpinion(rf), *alpinion_large(rf))}
    frames = {name: [(pair.pre, pair.post) for pair in some] for name, some in pairs.items()}
    rest = [frames["arm at rest"][0][0], *(post for _, post in frames["arm at rest"])]
    frames["arm at rest, 2 to 5 frames apart"] = [
        (rest[i], rest[j]) for i, j in combinations(range(len(rest)), 2) if j > i + 1
    ]
    for noise in (0.02, 0.3):
        scanner = SimulatedScanner(ScannerConfig(peak_strain=0.0, noise=noise))
        frames[f"simulated, at rest, noise {noise:g}"] = [
            (scanner.frame(k).samples, scanner.frame(k + 5).samples) for k in (0, 7, 13)
        ]
    rows: Rows = []
    for name, some in frames.items():
        images = [assess(engine.run(*pair, TYPICAL_SCAN), ImageQualityRule()) for pair in some]
        moving = [image.moving for image in images]
        if any(moving) if "rest" in name else not all(moving):
            raise AssertionError(f"{name}: moving {moving}")
        figures = {
            "score": [image.score for image in images],
            "mean strain (%)": [100 * image.mean_strain for image in images],
            "evident strain (%)": [100 * image.evident_strain for image in images],
        }
        ranges = {key: f"{min(values):.3f} to {max(values):.3f}" for key, values in figures.items()}
        rows.append({"frames": name, "pairs": len(images)} | ranges)
    return rows


def live_table(engine: Engine) -> Rows:
    """Through the engine: lags, states and errors."""
    rows: Rows = []
    low, high = LagRule().useful_strain
    for period in (20, 60):
        scene = Scene(engine, period_frames=period, peak_strain=0.02)
        ways: dict[str, LagControl] = {f"always {lag}": Fixed(LagRule(most=lag)) for lag in (1, 4, 8)}
        for name, control in (ways | {"the rule": LagControl()}).items():
            seen = list(scene.images(control, 2 * period))[period // 2 :]
            strain = np.abs([image.image_quality.readable_strain for image in seen])
            errors = [
                nrmse(image.estimate.strain[INSIDE], scene.truth(image.reference, image.current)[INSIDE])
                for image in seen
                if image.state == "live"
            ]
            states = [image.state for image in seen]
            rows.append(
                {"palpation": f"{20 / period:.2g} Hz, 2 %, 20 frames/s", "lag": name}
                | {"useful (%)": 100 * float(np.mean((strain >= low) & (strain <= high)))}
                | {f"{s} (%)": 100 * states.count(s) / len(states) for s in ("live", "held", "idle")}
                | {"strain NRMSE of live": float(np.median(errors)), "90 %": float(np.quantile(errors, 0.9))}
                | {"mean lag": float(np.mean([image.current - image.reference for image in seen]))}
            )
    return rows


def persistence_table(engine: Engine) -> Rows:
    """Error of the shown strain and of the strain ratio by weight."""
    rows: Rows = []
    for noise, tilt in ((0.02, 0.15), (0.3, 0.15), (0.1, 0.4)):
        scene = Scene(engine, period_frames=40, peak_strain=0.03, noise=noise, tilt=tilt)
        seen = [image for image in scene.images(LagControl(), 60) if image.state == "live"]
        for weight in (0.0, 0.4, 0.6, 0.8, 0.9):
            persistence = Persistence(PersistenceRule(weight=weight))
            figures = _shown(scene, seen, persistence, engine.strain_window_at(scene.scanner.scan))
            rows.append({"noise": noise, "tilt": tilt, "weight": weight} | figures)
    return rows


def _shown(scene: Scene, seen: list[Image], persistence: Persistence, window: int) -> dict[str, float]:
    (height, width), scan = scene.scanner.size_mm, scene.scanner.scan
    half = 0.6 * scene.scanner.lesion.radius_mm
    depth_mm = height / 2 - half, height / 2 + half
    target = Rectangle(depth_mm=depth_mm, lateral_mm=(width / 2 - half, width / 2 + half))
    background = Rectangle(depth_mm=depth_mm, lateral_mm=(0.5, width / 2 - 2.2 * half))
    meters = [RatioMeter(target, background, RatioRule(patch=(window, 12))) for _ in range(2)]
    found: list[tuple[float, ...]] = []
    last = None
    for image in seen:
        truth = scene.truth(image.reference, image.current)
        shown = persistence.add(
            image.estimate, mean_strain=image.image_quality.readable_strain, share=image.share
        ).strain
        reading = meters[0].read(shown, image.estimate.quality, scan.pitch_mm)
        true = meters[1].read(truth, np.ones_like(truth), scan.pitch_mm)
        if reading.ratio is None or reading.spread is None or true.ratio is None:
            raise AssertionError(f"ratio refused: {reading.refused} {true.refused}")
        pattern = shown / shown.mean()
        change = nrmse(pattern if last is None else last, pattern)
        off = reading.ratio - true.ratio
        found.append((nrmse(shown[INSIDE], truth[INSIDE]), change, off, reading.spread))
        last = pattern
    errors, changes, offs, spreads = np.array(found[SETTLED:]).T
    return {
        "strain NRMSE": float(errors.mean()),
        "change to the next": float(changes.mean()),
        "ratio, rms error": float(np.sqrt((offs**2).mean())),
        "spread": float(spreads.mean()),
        "within 2 spreads (%)": 100 * float((np.abs(offs) <= 2 * spreads).mean()),
    }


def time_table() -> Rows:
    """Milliseconds on one thread, median and slowest of 50."""
    rows: Rows = []
    scan = ScannerConfig().scan
    for shape in SHAPES:
        rng = np.random.default_rng(0)
        slope = -0.01 * np.arange(shape[0])[:, np.newaxis]
        estimate = Estimate(
            displacement=(slope + 0.1 * rng.standard_normal((2, *shape))).astype(np.float32),
            strain=(0.01 + 0.001 * rng.standard_normal(shape)).astype(np.float32),
            quality=rng.uniform(0.6, 1, shape).astype(np.float32),
        )
        control, persistence, rule = LagControl(), Persistence(), ImageQualityRule()
        for k in range(300):
            control.observe(reference=k, current=k + 1, mean_strain=0.002, score=1.0, moving=True)

        def next_lag(_: Estimate, control: LagControl = control) -> int:
            control.observe(reference=299, current=300, mean_strain=0.002, score=1.0, moving=True)
            return control.lag_for(301)

        half_mm = shape[0] * scan.axial_pitch_mm / 2, shape[1] * scan.line_pitch_mm / 2
        quarter = Rectangle(depth_mm=(0.0, half_mm[0]), lateral_mm=(0.0, half_mm[1]))
        meter = RatioMeter(quarter, quarter)
        parts: dict[str, Callable[..., Any]] = {
            "judge": lambda e, rule=rule: assess(e, rule),
            "lag": next_lag,
            "persistence": lambda e, p=persistence: p.add(e, mean_strain=0.01, share=0.3),
            "ratio of two quarters": lambda e, meter=meter: meter.read(e.strain, e.quality, scan.pitch_mm),
        }
        for name, part in parts.items():
            taken = []
            for _ in range(50):
                begin = time.perf_counter()
                part(estimate)
                taken.append(1e3 * (time.perf_counter() - begin))
            row = {"part": name, "shape": f"{shape[0]}x{shape[1]}"}
            rows.append(row | {"median ms": float(np.median(taken)), "max": max(taken)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bundle", type=Path, help="the default one if not given")
    parser.add_argument("--rf", type=Path, default=Path("../shared/rf"), help="folder of RF frames")
    parser.add_argument(
        "--tables", default="lag,quality,frames,live,persistence,time", help="commas between them"
    )
    options = parser.parse_args()
    found: dict[str, Rows] = {}
    try:
        bundle = Bundle.load(options.bundle or default_bundle_path())
        engine = open_engine(bundle, engine="onnxruntime", threads=1, precision="float32")
        makers: dict[str, Callable[[], Rows]] = {
            "lag": lag_table,
            "quality": lambda: quality_table(engine),
            "frames": lambda: frames_table(engine, options.rf),
            "live": lambda: live_table(engine),
            "persistence": lambda: persistence_table(engine),
            "time": time_table,
        }
        for name in options.tables.split(","):
            if name not in makers:
                parser.error(f"--tables: got {name!r}, expected some of {','.join(makers)}")
            found[name] = makers[name]()
            print(f"\n### {name}\n\n{markdown(found[name])}", flush=True)
    except UsertError as error:
        sys.exit(f"live_logic: {error}")
    print(json.dumps({"benchmark": "live_logic", "machine": cpu_name(), "tables": found}))


if __name__ == "__main__":
    main()
