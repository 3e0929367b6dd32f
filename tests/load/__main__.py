"""Load and faults before a live server with its default engine, and before the readers of files: minutes to hours.

    python tests/load faults [--faults scanner,kill,stall,…]
    python tests/load fuzz [--messages N] [--connections C] [--seed S]
    python tests/load fuzz-readers [--files N] [--readers mat,uff,…] [--seed S] [--folder DIR] [--lines]
    python tests/load overload [--minutes M] [--factor F] [--sockets push,pub] [--shape 512x128] [-- OPTION …]
    python tests/load senders [--faults killed,stalled,…]
    python tests/load soak [--minutes M] [--rate HZ] [--shape 256x64] [--folder DIR] [-- OPTION …]

Each prints Markdown tables; the last line is one JSON object; the exit code is 1 if something is not right. What they
share with the other tests lies in `tests/runtime/support`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from usert.errors import UsertError
from usert.evaluation.markdown import markdown
from usert.machine import cpu_name

sys.path.append(str(Path(__file__).parents[1] / "runtime" / "support"))

import faults
import fuzz
import fuzz_readers
import overload
import senders
import soak

PROGRAMS = {
    "faults": faults,
    "fuzz": fuzz,
    "fuzz-readers": fuzz_readers,
    "overload": overload,
    "senders": senders,
    "soak": soak,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/load", description=(__doc__ or "").partition("\n")[0])
    programs = parser.add_subparsers(dest="program", required=True)
    for name, module in PROGRAMS.items():
        first, _, rest = (module.__doc__ or "").partition("\n")
        module.add_options(programs.add_parser(name, help=first, description=first, epilog=rest))
    options = parser.parse_args()
    try:
        tables = PROGRAMS[options.program].run(options)
    except UsertError as error:
        sys.exit(f"{options.program}: {error}")
    for rows in tables.values():
        print(f"\n{markdown(rows)}")
    print(json.dumps({"load": options.program, "machine": cpu_name(), **tables}))
    sys.exit(
        any(row.get("right", "yes") not in ("yes", "skipped") for rows in tables.values() for row in rows)
    )


if __name__ == "__main__":
    main()
