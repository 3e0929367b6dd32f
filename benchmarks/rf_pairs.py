"""Pairs that the accuracy of a method is measured on: recorded ones of public data sets, and simulated ones.

Knows where in each pair to look; nothing of methods or figures. The recorded frames lie outside the project,
in the folder that each function is given. Invariant: truth, where there is one, is on the grid of `pre`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from usert.evaluation.pair import BORDER, Image, Pair
from usert.formats import ImportOptions, Rows, read_frames
from usert.frame import Scan
from usert.phantom.beam import Beam
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import Window
from usert.strain import window_samples

ALPINION = Scan(fs_hz=40e6, f0_hz=6.25e6, sound_speed_m_s=1540, line_pitch_mm=0.108)
FIELD_II = Scan(fs_hz=40e6, f0_hz=7.27e6, sound_speed_m_s=1540, line_pitch_mm=0.04)
ARM = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.3)
"""Pitch and centre frequency of the last two are not on record and serve the pictures' axes only: Field II's is
the one that makes its inclusion round."""
STRAINS = (0.005, 0.01, 0.02, 0.03, 0.05)
SIMULATED_SHAPE = (1024, 128)
SCANNERS = {
    "typical": (40, 6.5, 0.12, (2048, 192), 0.6),
    "oversampled": (63, 8.6, 0.20, (4096, 160), 0.6),
    "sparse": (20, 5.0, 0.30, (1024, 128), 0.5),
    "coarse": (15, 5.0, 0.20, (768, 160), 0.6),
    "deep": (40, 3.5, 0.40, (3072, 128), 0.6),
    "fine": (40, 9.5, 0.0745, (1664, 384), 0.7),
}
"""Sampling and centre frequency in MHz, line pitch in mm, shape, fractional bandwidth: six kinds."""
SCANNER_STRAINS = (0.0005, 0.001, 0.003, 0.01, 0.02, 0.03)
TITLES = {
    "alpinion": "Alpinion phantom, a stiff lesion (strain window 93 samples)",
    "alpinion-large": "Alpinion phantom, 1.1 to 1.6 % of strain (strain window 93 samples)",
    "fieldii": "Field II with finite elements, a soft inclusion (strain window 93 samples at 0.5 %, else 43)",
    "simulated": "Simulated scanner, truth known, mean of {seeds} (strain window 65 samples)",
    "scanners": "Six kinds of simulated scanner, truth known (strain window 2 mm)",
    "arm": "Volunteer's arm, consecutive frames (strain window 93 samples)",
    "still": "Volunteer's arm, hardly any motion (strain window 93 samples)",
}
"""Of the tables, by the names that a person types; `seeds` is filled in."""


def pairs_of(table: str, rf: Path | None, seeds: int) -> Iterator[Pair]:
    """The pairs of a table; those of one name are its seeds. Recorded ones need the folder `rf`."""
    if table == "simulated":
        return simulated(seeds)
    if table == "scanners":
        return scanners()
    if rf is None:
        raise ValueError(f"{table}: expected the folder of RF frames")
    recorded = {
        "alpinion": alpinion,
        "alpinion-large": alpinion_large,
        "fieldii": field_ii,
        "arm": arm,
        "still": still,
    }
    return recorded[table](rf)


def alpinion(rf: Path) -> Iterator[Pair]:
    """Free-hand on a breast phantom with a stiff lesion; windows in the rows that other work used."""
    for names, rows in ((("248", "253"), (1230, 1450)), (("359", "392"), (1200, 1420))):
        yield _alpinion_pair(
            rf,
            names,
            target=Window(rows=rows, lines=(170, 212)),
            background=Window(rows=rows, lines=(60, 102)),
        )


def alpinion_large(rf: Path) -> Iterator[Pair]:
    """The other four pairs of that recording; windows of the frames' README."""
    for names in (("253", "359"), ("253", "392"), ("248", "359"), ("248", "392")):
        yield _alpinion_pair(
            rf,
            names,
            target=Window(rows=(1240, 1440), lines=(165, 205)),
            background=Window(rows=(1240, 1440), lines=(60, 100)),
        )


def field_ii(rf: Path) -> Iterator[Pair]:
    """Field II with finite elements: a soft inclusion, compressed by 0.5, 1 and 2 %."""
    folder = rf / "fieldii_fem"
    files = {
        0: "level_0_with_tstart",
        0.5: "level_0.5_with_tstart",
        1: "level_1.0_with_tstart",
        2: "level_2.0",
    }
    frames = {}
    for level, name in files.items():
        rows = Rows(start=259, stop=1300) if "tstart" in name else None
        (frames[level],) = _read("mat", [folder / f"{name}.mat"], FIELD_II, ImportOptions(rows=rows))
    for level in (0.5, 1, 2):
        yield Pair(
            name=f"0 → {level:g} %",
            pre=frames[0],
            post=frames[level],
            scan=FIELD_II,
            strain_window=93 if level < 1 else 43,
            ncc_rows=(100, 940),
            homogeneous=Window(rows=(650, 900), lines=(20, 50)),
            target=Window(rows=(460, 620), lines=(103, 148)),
            background=Window(rows=(460, 620), lines=(20, 50)),
            twice="0 → 0.5 %" if level == 1 else None,
        )


def simulated(seeds: int) -> Iterator[Pair]:
    """The simulated scanner from release to the deepest press: a lesion three times as stiff, truth known.

    Beside the lesion the strain is half as high again as its nominal value: at 5 % it reaches 7 %, beyond the
    6 % that block matching follows, and GLUE begins with block matching.
    """
    for strain in STRAINS:
        for seed in range(seeds):
            config = ScannerConfig(shape=SIMULATED_SHAPE, peak_strain=strain)
            scanner, pressed = SimulatedScanner(config, seed=seed), config.period_frames // 2
            yield Pair(
                name=f"{100 * strain:g} %",
                pre=scanner.frame(0).samples,
                post=scanner.frame(pressed).samples,
                scan=config.scan,
                strain_window=65,
                ncc_rows=(BORDER[0], SIMULATED_SHAPE[0] - BORDER[0]),
                homogeneous=Window(rows=(64, 192), lines=(8, 120)),
                target=Window(rows=(412, 612), lines=(44, 84)),
                background=Window(rows=(412, 612), lines=(6, 18)),
                truth=scanner.truth(0, pressed),
            )


def scanners() -> Iterator[Pair]:
    """One press of each strain by each kind of scanner: a lesion three times as stiff in the middle."""
    for name, (fs_mhz, f0_mhz, pitch_mm, shape, bandwidth) in SCANNERS.items():
        scan = Scan(fs_hz=1e6 * fs_mhz, f0_hz=1e6 * f0_mhz, sound_speed_m_s=1540.0, line_pitch_mm=pitch_mm)
        for strain in SCANNER_STRAINS:
            config = ScannerConfig(
                scan=scan,
                shape=shape,
                beam=Beam(fractional_bandwidth=bandwidth),
                peak_strain=strain,
                period_frames=2,
                slide_lines=0.5,
                tilt=0.1,
                noise=0.03,
            )
            scanner = SimulatedScanner(config, seed=0)
            (rows, lines), size = (
                shape,
                config.radius * min(shape[0] * scan.axial_pitch_mm, shape[1] * pitch_mm),
            )
            tall, wide = int(0.6 * size / scan.axial_pitch_mm), int(0.6 * size / pitch_mm)
            across = rows // 2 - tall, rows // 2 + tall
            yield Pair(
                name=f"{name} {100 * strain:g} %",
                pre=scanner.frame(0).samples,
                post=scanner.frame(1).samples,
                scan=scan,
                strain_window=window_samples(scan, 2.0),
                ncc_rows=(rows // 16, rows - rows // 16),
                homogeneous=Window(rows=(rows // 16, rows // 6), lines=(8, lines - 8)),
                target=Window(rows=across, lines=(lines // 2 - wide, lines // 2 + wide)),
                background=Window(rows=across, lines=(4, lines // 8)),
                truth=scanner.truth(0, 1),
            )


def arm(rf: Path) -> Iterator[Pair]:
    """A volunteer's arm under free-hand palpation, consecutive frames of two sequences."""
    for sequence in ("299", "300"):
        for pair in _arm_pairs(rf / "invivo_arm" / sequence):
            name, homogeneous = f"{sequence}: {pair.name}", Window(rows=(300, 1500), lines=(0, 128))
            yield dataclasses.replace(pair, name=name, homogeneous=homogeneous)


def still(rf: Path) -> Iterator[Pair]:
    """The same arm while the hand rests: frames that a selection should skip."""
    for pair in _arm_pairs(rf / "invivo_arm" / "302"):
        yield dataclasses.replace(pair, still=Window(rows=(300, 1500), lines=(0, 128)))


def _alpinion_pair(rf: Path, names: tuple[str, str], *, target: Window, background: Window) -> Pair:
    paths = [rf / "alpinion_phantom" / f"{n}_layer0_idx{n}_BDATA_BF.mat" for n in names]
    pre, post = _read("alpinion", paths, ALPINION, ImportOptions(rows=Rows(start=0, stop=2140)))
    return Pair(
        name=f"{names[0]} → {names[1]}",
        pre=pre,
        post=post,
        scan=ALPINION,
        strain_window=93,
        ncc_rows=(100, 2100),
        homogeneous=Window(rows=(500, 750), lines=(110, 260)),
        target=target,
        background=background,
    )


def _arm_pairs(folder: Path) -> Iterator[Pair]:
    paths = [folder / f"igtlTestImage{k}.raw" for k in range(1, 7)]
    frames = _read("raw", paths, ARM, ImportOptions(shape=(2000, 128)))
    for k, (pre, post) in enumerate(pairwise(frames), 1):
        yield Pair(
            name=f"{k} → {k + 1}", pre=pre, post=post, scan=ARM, strain_window=93, ncc_rows=(100, 1850)
        )


def _read(name: str, paths: Sequence[Path], scan: Scan, options: ImportOptions) -> list[Image]:
    return [frame.samples for frame in read_frames(name, paths, scan, options)]
