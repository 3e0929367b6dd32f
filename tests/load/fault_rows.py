"""Faults one after the other, and a row of what each did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from usert.errors import OptionError, UsertError
from usert.evaluation.markdown import markdown


def fault_rows(
    faults: Mapping[str, Callable[[], dict[str, Any]]], names: Sequence[str], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for each of `names`; what went wrong at one stands in its row, and the others go on.

    Errors: `OptionError` for a name that is not among `faults`.
    """
    if unknown := [name for name in names if name not in faults]:
        raise OptionError(f"--faults: got {unknown[0]!r}, expected some of {','.join(faults)}")
    rows: list[dict[str, Any]] = []
    for name in names:
        row = dict.fromkeys(columns, "") | {"fault": name}
        try:
            rows.append(row | faults[name]())
        except (AssertionError, StopIteration, UsertError) as error:
            rows.append(row | {"right": f"{type(error).__name__}: {error}"})
        print(markdown(rows[-1:]), flush=True)
    return rows
