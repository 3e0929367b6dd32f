"""How accurate the strain is: the network of a bundle beside the classical methods, on real and simulated pairs.

    python benchmarks/accuracy.py [--rf ../shared/rf] [--bundle DIR] [--methods usert,ncc,glue]
                                  [--tables alpinion,fieldii,simulated,arm] [--markdown OUT] [--pictures DIR]

Every method gives a displacement; strain is then taken by `usert.strain` with the window stated over the table,
so that only the displacement differs. Without --rf only the simulated pairs are measured. CPU seconds are of
the process, on one thread where OMP_NUM_THREADS=1 says so. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle, default_bundle_path
from usert.errors import OptionError, UsertError
from usert.estimators import block_matching, global_time_delay
from usert.estimators.glue import SMOOTH
from usert.formats import ImportOptions, Rows, read_frames
from usert.frame import Scan
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import Window, cnr, nrmse, rmse, snre, strain_ratio, warped_ncc
from usert.runtime.engines import open_engine
from usert.runtime.figure import save_figure
from usert.strain import axial_strain

Image = NDArray[Any]
Method = Callable[[Image, Image], Image]
Figures = dict[str, str | float]

ALPINION = Scan(fs_hz=40e6, f0_hz=6.25e6, sound_speed_m_s=1540, line_pitch_mm=0.108)
FIELD_II = Scan(fs_hz=40e6, f0_hz=7.27e6, sound_speed_m_s=1540, line_pitch_mm=0.04)
ARM = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.3)
"""Pitch and centre frequency of the last two are not on record and serve the pictures' axes only: Field II's is
the one that makes its inclusion round."""
STRAINS = (0.005, 0.01, 0.02, 0.03)
SIMULATED_SHAPE = (1024, 128)
BORDER = 32, 4
"""Samples and lines left out of the errors against truth: there, tissue leaves the frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two frames and where to look."""

    name: str
    pre: Image
    post: Image
    scan: Scan
    strain_window: int
    """Samples of the least-squares fit along depth."""
    ncc_rows: tuple[int, int]
    homogeneous: Window | None = None
    target: Window | None = None
    background: Window | None = None
    truth: Image | None = None


def alpinion(rf: Path) -> Iterator[Pair]:
    """Free-hand on a breast phantom with a stiff lesion; windows in the rows that other work used."""
    for names, (top, end) in ((("248", "253"), (1230, 1450)), (("359", "392"), (1200, 1420))):
        paths = [rf / "alpinion_phantom" / f"{n}_layer0_idx{n}_BDATA_BF.mat" for n in names]
        pre, post = _read("alpinion", paths, ImportOptions(scan=ALPINION, rows=Rows(start=0, stop=2140)))
        yield Pair(
            name=f"{names[0]} → {names[1]}",
            pre=pre,
            post=post,
            scan=ALPINION,
            strain_window=93,
            ncc_rows=(100, 2100),
            homogeneous=Window(rows=(500, 750), lines=(110, 260)),
            target=Window(rows=(top, end), lines=(170, 212)),
            background=Window(rows=(top, end), lines=(60, 102)),
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
        options = ImportOptions(scan=FIELD_II, rows=rows)
        (frames[level],) = _read("mat", [folder / f"{name}.mat"], options)
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
        )


def simulated(seeds: int) -> Iterator[Pair]:
    """The simulated scanner from release to the deepest press: a lesion three times as stiff, truth known."""
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


def arm(rf: Path) -> Iterator[Pair]:
    """A volunteer's arm under free-hand palpation, consecutive frames."""
    paths = [rf / "invivo_arm" / "299" / f"igtlTestImage{k}.raw" for k in range(1, 7)]
    frames = _read("raw", paths, ImportOptions(scan=ARM, shape=(2000, 128)))
    for k, (pre, post) in enumerate(pairwise(frames), 1):
        yield Pair(
            name=f"{k} → {k + 1}",
            pre=pre,
            post=post,
            scan=ARM,
            strain_window=93,
            ncc_rows=(100, 1850),
            homogeneous=Window(rows=(300, 1500), lines=(0, 128)),
        )


def measure(pair: Pair, estimate: Method, picture: Path | None, label: str) -> tuple[Figures, Image]:
    """Figures of one method on one pair, and its displacement."""
    start = time.process_time()
    d = estimate(pair.pre, pair.post)
    figures: Figures = {"CPU s": time.process_time() - start}
    strain = axial_strain(d[0], pair.strain_window)
    quality = warped_ncc(pair.pre, pair.post, d)
    if pair.truth is not None:
        inside = (..., slice(BORDER[0], -BORDER[0]), slice(BORDER[1], -BORDER[1]))
        true_strain = axial_strain(pair.truth[0], pair.strain_window)
        figures["axial RMSE (samples)"] = rmse(d[0][inside], pair.truth[0][inside])
        figures["lateral RMSE (lines)"] = rmse(d[1][inside], pair.truth[1][inside])
        figures["strain NRMSE"] = nrmse(strain[inside], true_strain[inside])
    if pair.homogeneous is not None:
        figures["SNRe"] = snre(strain, pair.homogeneous)
    if pair.target is not None and pair.background is not None:
        figures["CNR"] = cnr(strain, pair.target, pair.background)
        figures["SR"] = strain_ratio(strain, pair.target, pair.background)
        if pair.truth is not None:
            figures["true SR"] = strain_ratio(true_strain, pair.target, pair.background)
    figures["NCC"] = float(quality[slice(*pair.ncc_rows)].mean())
    if picture is not None:
        save_figure(
            picture,
            samples=pair.pre,
            scan=pair.scan,
            strain=strain,
            quality=np.maximum(quality, 0),
            title=label,
        )
    return figures, d


def table(
    pairs: Iterator[Pair], name: str, methods: dict[str, Method], pictures: Path | None
) -> list[Figures]:
    """A row a pair and method; pairs of one name (seeds) are averaged."""
    rows: dict[tuple[str, str], list[Figures]] = {}
    halved: dict[str, Image] = {}
    for pair in pairs:
        for method, estimate in methods.items():
            key = pair.name, method
            file = None
            if pictures is not None and key not in rows:
                words = pair.name.replace(" → ", "-").replace(" %", "").replace(" ", "")
                file = pictures / f"{name}-{words}-{method}.png"
            figures, d = measure(pair, estimate, file, f"{name} {pair.name}, {method}".replace("→", "to"))
            if pair.name == "0 → 0.5 %":
                halved[method] = d
            if name == "fieldii" and pair.name == "0 → 1 %":
                rest = (d[0] - 2 * halved[method][0])[slice(*pair.ncc_rows)]
                figures["d(1 %) - 2 d(0.5 %) (samples)"] = float(np.sqrt(np.mean(rest**2)))
            rows.setdefault(key, []).append(figures)
            print(f"{name} {pair.name} {method}: {_short(figures)}", file=sys.stderr, flush=True)
    return [
        {"pair": pair, "method": method} | {k: float(np.mean([f[k] for f in found])) for k in found[0]}
        for (pair, method), found in rows.items()
    ]


def markdown(rows: Sequence[Figures]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_number(row.get(c, "")) for c in columns) + " |" for row in rows]
    return "\n".join(lines)


def choose_methods(names: Sequence[str], bundle: Path | None, stack: ExitStack) -> dict[str, Method]:
    """Methods by name; the engine of `usert` is closed by `stack`."""
    known: dict[str, Method] = {
        "ncc": block_matching,
        "glue": global_time_delay,
        "glue-smooth": lambda pre, post: global_time_delay(pre, post, weights=SMOOTH),
    }
    if "usert" in names:
        engine = open_engine(Bundle.load(bundle or default_bundle_path()), threads=1)
        stack.callback(engine.close)
        known["usert"] = lambda pre, post: engine.run(pre, post).displacement
    for name in names:
        if name not in known:
            raise OptionError(f"methods: got {name!r}, expected some of usert, {', '.join(sorted(known))}")
    return {name: known[name] for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rf", type=Path, help="folder of RF frames; without it only simulated pairs")
    parser.add_argument(
        "--bundle", type=Path, help="bundle of the method usert; the default one if not given"
    )
    parser.add_argument("--methods", default="usert,ncc,glue", help="of usert, ncc, glue, glue-smooth")
    parser.add_argument("--tables", default="alpinion,fieldii,simulated,arm")
    parser.add_argument("--seeds", type=int, default=3, help="simulated pairs of each strain")
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the tables here, too")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="save B-mode, strain and quality as PNG")
    options = parser.parse_args()
    try:
        run(options)
    except UsertError as error:
        sys.exit(f"accuracy: {error}")


def run(options: argparse.Namespace) -> None:
    titles = {
        "alpinion": "Alpinion phantom, a stiff lesion (strain window 93 samples)",
        "fieldii": "Field II with finite elements, a soft inclusion (strain window 93 samples at 0.5 %, else 43)",
        "simulated": f"Simulated scanner, truth known, mean of {options.seeds} (strain window 65 samples)",
        "arm": "Volunteer's arm, consecutive frames (strain window 93 samples)",
    }
    wanted = options.tables.split(",")
    for name in wanted:
        if name not in titles:
            raise OptionError(f"tables: got {name!r}, expected some of {', '.join(titles)}")
    if options.rf is None:
        wanted = [name for name in wanted if name == "simulated"]
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        methods = choose_methods(options.methods.split(","), options.bundle, stack)
        sources: dict[str, Callable[[], Iterator[Pair]]] = {
            "alpinion": lambda: alpinion(options.rf),
            "fieldii": lambda: field_ii(options.rf),
            "simulated": lambda: simulated(options.seeds),
            "arm": lambda: arm(options.rf),
        }
        tables = {name: table(sources[name](), name, methods, options.pictures) for name in wanted}
    text = "\n\n".join(f"### {titles[name]}\n\n{markdown(rows)}" for name, rows in tables.items())
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    print(json.dumps({"benchmark": "accuracy", "machine": platform.processor(), "tables": tables}))


def _read(name: str, paths: Sequence[Path], options: ImportOptions) -> list[Image]:
    return [frame.samples for frame in read_frames(name, paths, options)]


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _short(figures: Figures) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in figures.items())


if __name__ == "__main__":
    main()
