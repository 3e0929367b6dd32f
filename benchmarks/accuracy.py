"""The pairs that accuracy is measured on, as recordings and a file of pairs for `usert eval`: recorded and simulated.

    python benchmarks/accuracy.py --out DIR [--rf ../shared/rf] [--tables alpinion,simulated,…] [--seeds 3]
    usert eval DIR/pairs.toml --out report.html --markdown tables.md

Knows the pairs by `rf_pairs`; runs no method. Each pair becomes a recording of two frames, sample for sample as read.
Without --rf only the simulated pairs are written.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rf_pairs import TITLES, Pair, pairs_of

from usert.errors import OptionError, UsertError
from usert.frame import RFFrame
from usert.recording import write_recording


def entry(pair: Pair, path: Path) -> dict[str, Any]:
    """Write the two frames to `path`; what the file of pairs says of them."""
    frames = (
        RFFrame(samples=samples, scan=pair.scan, sequence=k)
        for k, samples in enumerate((pair.pre, pair.post))
    )
    write_recording(path, frames, None if pair.truth is None else [pair.truth])
    told = {
        "recording": path.name,
        "frames": [0, 1],
        "name": pair.name,
        "strain_window_samples": pair.strain_window,
        "ncc_rows": list(pair.ncc_rows),
        "twice": pair.twice,
    }
    told |= {name: str(window) for name, window in pair.windows.items()}
    return {key: value for key, value in told.items() if value is not None}


def toml(title: str, entries: list[dict[str, Any]]) -> str:
    """Strings and lists of whole numbers are written in TOML as in JSON."""
    lines = ["[[tables]]", f"title = {json.dumps(title, ensure_ascii=False)}"]
    for one in entries:
        lines += ["", "[[tables.pairs]]"]
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in one.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--rf", type=Path, help="folder of RF frames; without it only simulated pairs")
    parser.add_argument("--tables", default=",".join(TITLES))
    parser.add_argument("--seeds", type=int, default=3, help="simulated pairs of each strain")
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
    options.out.mkdir(parents=True, exist_ok=True)
    texts = []
    for name in wanted:
        pairs = enumerate(pairs_of(name, options.rf, options.seeds), 1)
        entries = [entry(pair, options.out / f"{name}-{number}.h5") for number, pair in pairs]
        texts.append(toml(TITLES[name].format(seeds=options.seeds), entries))
    plan = options.out / "pairs.toml"
    plan.write_text("\n".join(texts), encoding="utf-8")
    print(f"{plan}: {', '.join(wanted)}; usert eval {plan} --out report.html")


if __name__ == "__main__":
    main()
