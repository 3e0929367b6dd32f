"""How accurate the strain is: the network of a bundle beside the classical methods, on real and simulated pairs.

    python benchmarks/accuracy.py [--rf ../shared/rf] [--bundle DIR] [--methods usert,ncc,glue]
                                  [--weights NAME=FILE[,REFINEMENT[,LEVEL]]] [--tables alpinion,simulated,…]
                                  [--markdown OUT] [--pictures DIR]

Every method gives a displacement; strain is then taken by `usert.strain` with the window stated over the table,
so that only the displacement differs. --weights adds a method that runs the network of a weights file by torch,
as its exported graph would: with a refinement after it (off, cheap or full), stopped at a level (2, 3 or 4).
Without --rf only the simulated pairs are measured. CPU seconds are of
the process, on one thread where OMP_NUM_THREADS=1 says so. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rf_pairs import BORDER, TITLES, Image, Pair, pairs_of
from tables import cell, markdown

from usert.bundle import Bundle, default_bundle_path
from usert.errors import OptionError, UsertError, require
from usert.estimators import ESTIMATORS
from usert.machine import cpu_name
from usert.quality import cnr, nrmse, rmse, snre, strain_ratio, warped_ncc
from usert.runtime.engines import open_engine
from usert.runtime.figure import save_figure
from usert.runtime.samples import to_int16
from usert.strain import axial_strain

Method = Callable[[Image, Image], Image]
Figures = dict[str, str | float]
TRUSTED = 0.9
"""Correlation after the warp above which a displacement counts as found."""


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
        trusted = quality[inside] > TRUSTED
        figures["axial RMSE (samples) where NCC > .9"] = (
            rmse(d[0][inside][trusted], pair.truth[0][inside][trusted]) if trusted.any() else math.nan
        )
        figures["share of NCC > .9"] = float(trusted.mean())
        figures["lateral RMSE (lines)"] = rmse(d[1][inside], pair.truth[1][inside])
        figures["strain NRMSE"] = nrmse(strain[inside], true_strain[inside])
    if pair.homogeneous is not None:
        figures["SNRe"] = snre(strain, pair.homogeneous)
    if pair.target is not None and pair.background is not None:
        figures["CNR"] = cnr(strain, pair.target, pair.background)
        figures["SR"] = strain_ratio(strain, pair.target, pair.background)
        if pair.truth is not None:
            figures["true SR"] = strain_ratio(true_strain, pair.target, pair.background)
    if pair.still is not None:
        percent = 100 * pair.still.of(strain)
        figures["mean abs strain (%)"] = float(np.abs(percent).mean())
        figures["strain deviation (%)"] = float(percent.std())
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
                words = pair.name.replace(" → ", "-").replace(" %", "").replace(": ", "-").replace(" ", "")
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


def choose_methods(
    names: Sequence[str], weights: Sequence[str], bundle: Path | None, stack: ExitStack
) -> dict[str, Method]:
    """Methods by name, those of `weights` (NAME=FILE) last; the engine of `usert` is closed by `stack`."""
    known: dict[str, Method] = dict(ESTIMATORS)
    for name in names:
        if name not in ("usert", *known):
            raise OptionError(f"methods: got {name!r}, expected some of usert, {', '.join(known)}")
    if "usert" in names:
        engine = open_engine(Bundle.load(bundle or default_bundle_path()), threads=1)
        stack.callback(engine.close)
        known["usert"] = lambda pre, post: engine.run(pre, post).displacement
    chosen = {name: known[name] for name in names}
    for word in weights:
        name, _, rest = word.partition("=")
        file, *how = rest.split(",")
        level = how[1] if len(how) > 1 else "2"
        if not (name and file) or len(how) > 2 or level not in ("2", "3", "4"):
            raise OptionError(f"weights: got {word!r}, expected NAME=FILE[,REFINEMENT[,LEVEL]], level 2 to 4")
        if name in ("usert", *ESTIMATORS, *chosen):
            raise OptionError(f"weights: got {word!r}, expected a name that no other method has")
        chosen[name] = network_of(Path(file), how[0] if how else "off", int(level))
    return chosen


def network_of(weights: Path, refinement: str = "off", finest: int | None = None) -> Method:
    """The network of a weights file in float32, by torch on one thread, in the graph that an export makes."""
    torch = require("torch", "export")
    from usert.export.graph import StrainGraph
    from usert.network.refine import as_kind
    from usert.network.weights import load_weights

    torch.set_num_threads(1)
    network, kind = load_weights(weights, finest=finest), as_kind(refinement, "weights")
    graph = StrainGraph(network, strain_window=3, refinement=kind).eval()

    def estimate(pre: Image, post: Image) -> Image:
        first, second = (torch.from_numpy(frame) for frame in to_int16(pre, post))
        with torch.inference_mode():
            displacement: Image = graph(first, second)[0].numpy()
        return displacement

    return estimate


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rf", type=Path, help="folder of RF frames; without it only simulated pairs")
    parser.add_argument(
        "--bundle", type=Path, help="bundle of the method usert; the default one if not given"
    )
    parser.add_argument("--methods", default="usert,ncc,glue", help="of usert, ncc, glue, glue-smooth")
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=FILE[,REFINEMENT[,LEVEL]]",
        help="a weights file as one more method; may be given again",
    )
    parser.add_argument("--tables", default=",".join(TITLES))
    parser.add_argument("--seeds", type=int, default=3, help="simulated pairs of each strain")
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the tables here, too")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="save B-mode, strain and quality as PNG")
    options = parser.parse_args()
    try:
        run(options)
    except UsertError as error:
        sys.exit(f"accuracy: {error}")


def run(options: argparse.Namespace) -> None:
    wanted = options.tables.split(",")
    for name in wanted:
        if name not in TITLES:
            raise OptionError(f"tables: got {name!r}, expected some of {', '.join(TITLES)}")
    if options.rf is None:
        wanted = [name for name in wanted if name == "simulated"]
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        methods = choose_methods(options.methods.split(","), options.weights, options.bundle, stack)
        tables = {
            name: table(pairs_of(name, options.rf, options.seeds), name, methods, options.pictures)
            for name in wanted
        }
    text = "\n\n".join(
        f"### {TITLES[name].format(seeds=options.seeds)}\n\n{markdown(rows)}" for name, rows in tables.items()
    )
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    print(json.dumps({"benchmark": "accuracy", "machine": cpu_name(), "tables": tables}))


def _short(figures: Figures) -> str:
    return ", ".join(f"{name} {cell(value)}" for name, value in figures.items())


if __name__ == "__main__":
    main()
