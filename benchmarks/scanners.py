"""Accuracy of bundles over scanners: drawn at random, one tissue sampled at four rates and as IQ, and echoes that end.

    python benchmarks/scanners.py --bundle new=DIR [--bundle old=DIR] [--parts random,sampling,lost] [--json FILE]

Each part is a table in Markdown. `random`: ten scanners from the ranges that the generated pairs are drawn from, on
which no parameter was chosen. `sampling`: strain of the same scatterers at 20, 30, 40 and 60 MHz, and as IQ through
torch, against that at 40 MHz. `lost`: of what may be read, how much is wrong by more than .3 % of strain, where noise,
zeros or a noise floor end the tissue, and how much of what is right may be read. Found: axial error below a quarter of
a wavelength.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from usert.analytic import analytic_signal
from usert.bundle import Bundle
from usert.evaluation.markdown import markdown
from usert.export.pair_graph import reference_graph
from usert.frame import Scan
from usert.front_end import depth_grid, grid_rows
from usert.phantom.beam import Beam, rf_image
from usert.phantom.field import grid_mm
from usert.phantom.inclusion import Inclusion
from usert.phantom.scanner import FULL_SCALE, ScannerConfig, SimulatedScanner
from usert.phantom.scatterers import random_scatterers
from usert.quality import READABLE_QUALITY
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate
from usert.strain import axial_strain, window_samples

SEED = 20261129
STRAINS = (0.01, 0.03, 0.05, 0.08)
RATES_MHZ = (20.0, 30.0, 40.0, 60.0)
IQ_THINNING = 4
"""Samples at 40 MHz of one sample of IQ."""
WRONG = 0.003
Frame = NDArray[np.int16]
Row = dict[str, Any]


def random_scanner(rng: np.random.Generator) -> tuple[Scan, tuple[int, int], Beam]:
    fs_hz = rng.uniform(15e6, 63e6)
    cycles = rng.uniform(0.05, 0.4)
    scan = Scan(
        fs_hz=fs_hz,
        f0_hz=cycles * fs_hz,
        sound_speed_m_s=1540.0,
        line_pitch_mm=float(np.exp(rng.uniform(np.log(0.05), np.log(0.5)))),
    )
    rows = int(np.clip(rng.uniform(15, 45) / scan.axial_pitch_mm, 512, 4096))
    beam = Beam(fractional_bandwidth=rng.uniform(0.25, 0.9), lateral_sigma_lines=rng.uniform(0.8, 2.4))
    return scan, (rows, 32 * int(rng.integers(3, 9))), beam


def random_rows(name: str, engine: Engine) -> Iterator[Row]:
    rng = np.random.default_rng(SEED)
    for number in range(10):
        scan, shape, beam = random_scanner(rng)
        for strain in STRAINS:
            config = ScannerConfig(
                scan=scan, shape=shape, beam=beam, peak_strain=strain, period_frames=2, tilt=0.1, noise=0.03
            )
            scanner = SimulatedScanner(config, SEED + number)
            estimate = engine.run(scanner.frame(0).samples, scanner.frame(1).samples, scan)
            yield {
                "bundle": name,
                "scanner": f"{scan.fs_hz / 1e6:.0f}/{scan.f0_hz / 1e6:.1f} MHz, {shape[0]} x {shape[1]}, "
                f"{scan.line_pitch_mm:.2f} mm, bandwidth {beam.fractional_bandwidth:.2f}",
                "strain %": f"{100 * strain:g}",
                **errors(estimate, scanner.truth(0, 1), scan),
            }


def errors(estimate: Estimate, truth: NDArray[np.float32], scan: Scan) -> Row:
    rows = truth.shape[1]
    inner = slice(rows // 16, -(rows // 16)), slice(4, -4)
    axial, lateral = (estimate.displacement - truth)[:, *inner]
    found = np.abs(axial) < 0.25 / scan.cycles_per_sample
    window = window_samples(scan, 2.0)
    slopes = [float(np.median(axial_strain(d[0], window)[inner])) for d in (estimate.displacement, truth)]
    return {
        "found": round(float(found.mean()), 3),
        "axial rmse": round(float(np.sqrt(np.mean(axial[found] ** 2))), 4) if found.any() else None,
        "lateral rmse, lines": round(float(np.sqrt(np.mean(lateral[found] ** 2))), 3)
        if found.any()
        else None,
        "slope": round(slopes[0] / slopes[1], 3),
        "readable": round(float((estimate.quality >= READABLE_QUALITY).mean()), 3),
    }


class Tissue:
    """One cloud of scatterers, pressed by 1 %, as any sampling sees it: 30 mm deep, 96 lines of .12 mm, 6.5 MHz."""

    depth_mm, lines, pitch_mm, f0_hz = 30.0, 96, 0.12, 6.5e6

    def __init__(self) -> None:
        rng = np.random.default_rng(SEED)
        width = self.lines * self.pitch_mm
        self.cloud = random_scatterers(rng, z_mm=(-1, self.depth_mm + 2), x_mm=(-2, width + 2), per_mm2=400)
        self.press = Inclusion(
            strain=0.01, centre_z_mm=15, centre_x_mm=width / 2, radius_mm=3.5, modulus_ratio=3
        )

    def pair(self, fs_hz: float) -> tuple[list[NDArray[np.float64]], Scan]:
        scan = Scan(fs_hz=fs_hz, f0_hz=self.f0_hz, sound_speed_m_s=1540.0, line_pitch_mm=self.pitch_mm)
        shape = int(self.depth_mm / scan.axial_pitch_mm), self.lines
        images = [
            rf_image(cloud, scan, shape, Beam()) for cloud in (self.cloud, self.cloud.moved(self.press))
        ]
        rms = float(images[0].std())
        return [FULL_SCALE * image / rms for image in images], scan

    def true_strain(self, scan: Scan, rows: int) -> NDArray[np.float32]:
        z, x = grid_mm((rows, self.lines), scan.axial_pitch_mm, scan.line_pitch_mm)
        return axial_strain(
            self.press(z, x)[0] / scan.axial_pitch_mm, round(15.8 / scan.cycles_per_sample) | 1
        )


def sampling_rows(name: str, engine: Engine, bundle: Bundle) -> Iterator[Row]:
    tissue = Tissue()
    images: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    reference = tissue.pair(40e6)[1]
    depth = np.arange(100, 1400) * reference.axial_pitch_mm
    for rate in RATES_MHZ:
        frames, scan = tissue.pair(1e6 * rate)
        first, second = (np.rint(frame).astype(np.int16) for frame in frames)
        estimate = engine.run(first, second, scan)
        images[f"RF, {rate:g} MHz"] = on_depths(estimate.strain, estimate.quality, scan, depth)
    if bundle.manifest.network.front_end == "baseband":
        images["IQ, 10 MHz"] = iq_image(bundle, tissue, depth)
    truth = on_depths(tissue.true_strain(reference, 1500), np.ones((1500, 96)), reference, depth)[0]
    strain, quality = images["RF, 40 MHz"]
    for kind, (other, its) in images.items():
        use = (quality >= READABLE_QUALITY) & (its >= READABLE_QUALITY)
        yield {
            "bundle": name,
            "signal": kind,
            "from RF at 40 MHz, rms % of strain": round(100 * rms_of((other - strain)[use]), 4),
            "from the truth, rms % of strain": round(100 * rms_of((other - truth)[use]), 4),
            "readable": round(float(use.mean()), 3),
        }


def iq_image(bundle: Bundle, tissue: Tissue, depth: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Turned down by f0 and thinned, as scanners do it, through the torch graph of the bundle."""
    frames, scan = tissue.pair(40e6)
    turned = np.exp(-2j * np.pi * scan.cycles_per_sample * np.arange(len(frames[0])))[:, None]
    parts = []
    for frame in frames:
        thin = (2 * analytic_signal(frame) * turned)[::IQ_THINNING]
        parts.append(torch.from_numpy(np.rint(np.stack((thin.real, thin.imag)) / 4).astype(np.int16)))
    cycles = scan.cycles_per_sample * IQ_THINNING
    # sample k of the IQ lies where sample 4 k of the RF does
    grid = depth_grid(grid_rows(len(frames[0]), scan.cycles_per_sample), scan.cycles_per_sample) / IQ_THINNING
    with torch.inference_mode():
        _, strain, quality = reference_graph(bundle)(*parts, torch.from_numpy(grid))
    thinned = Scan(
        fs_hz=scan.fs_hz / IQ_THINNING, f0_hz=1e5, sound_speed_m_s=1540.0, line_pitch_mm=scan.line_pitch_mm
    )
    assert cycles > 0
    return on_depths(strain.numpy(), quality.numpy(), thinned, depth)


def on_depths(
    strain: NDArray[Any], quality: NDArray[Any], scan: Scan, depth: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    own = np.arange(len(strain)) * scan.axial_pitch_mm
    first, second = (
        np.stack([np.interp(depth, own, line) for line in image.T], axis=1) for image in (strain, quality)
    )
    return first, second


def rms_of(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def lost_rows(name: str, engine: Engine) -> Iterator[Row]:
    rng = np.random.default_rng(SEED)
    for kind, below in (("noise", 380), ("zeros", 380)):
        scanner = SimulatedScanner(ScannerConfig(shape=(512, 96), peak_strain=0.06), SEED)
        frames = [scanner.frame(k).samples.copy() for k in (0, 7)]
        for frame in frames:
            frame[below:] = rng.normal(0, 3000, frame[below:].shape) if kind == "noise" else 0
        tissue = np.arange(512)[:, None] < below
        yield {
            "bundle": name,
            "what ends the tissue": kind,
            **of_readable(engine, frames, scanner, (0, 7), tissue),
        }
    for decibels in (3, 6):
        config = ScannerConfig(shape=(2048, 128), peak_strain=0.02, period_frames=2)
        scanner = SimulatedScanner(config, SEED)
        z = np.arange(2048)[:, None] * config.scan.axial_pitch_mm
        fade = 10 ** (-decibels * np.maximum(z - 5, 0) / 20)
        frames = [
            np.rint(scanner.frame(k).samples * fade + rng.normal(0, 40, (2048, 128))).astype(np.int16)
            for k in (0, 1)
        ]
        kind = f"echoes falling by {decibels} dB a mm from 5 mm on, into noise 40 dB down"
        tissue = FULL_SCALE * fade > 40
        yield {
            "bundle": name,
            "what ends the tissue": kind,
            **of_readable(engine, frames, scanner, (0, 1), tissue),
        }


def of_readable(
    engine: Engine,
    frames: list[Frame],
    scanner: SimulatedScanner,
    pair: tuple[int, int],
    tissue: NDArray[np.bool_],
) -> Row:
    """`tissue` (N, 1): where echoes are stronger than noise; elsewhere nothing is right but by chance."""
    estimate = engine.run(*frames, scanner.scan)
    truth = axial_strain(scanner.truth(*pair)[0], round(15.8 / scanner.scan.cycles_per_sample) | 1)
    readable = estimate.quality >= READABLE_QUALITY
    wrong = np.abs(estimate.strain - truth) > WRONG
    right = ~wrong & tissue
    return {
        "readable": round(float(readable.mean()), 3),
        "wrong, of what is readable": round(float((wrong & readable).sum() / max(1, readable.sum())), 4),
        "readable, of what is right": round(float((right & readable).sum() / max(1, right.sum())), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bundle", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--parts", default="random,sampling,lost")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tables: dict[str, list[Row]] = {part: [] for part in options.parts.split(",")}
    for word in options.bundle:
        name, _, folder = word.partition("=")
        bundle = Bundle.load(folder)
        with closing(open_engine(bundle)) as engine:
            for part, rows in tables.items():
                if part == "random":
                    rows += random_rows(name, engine)
                elif part == "sampling":
                    rows += sampling_rows(name, engine, bundle)
                elif part == "lost":
                    rows += lost_rows(name, engine)
                else:
                    parser.error(f"--parts: got {part!r}, expected random, sampling, lost")
    for part, rows in tables.items():
        print(f"\n#### {part}\n")
        print(markdown(rows))
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
