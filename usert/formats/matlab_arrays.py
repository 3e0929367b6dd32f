"""The numeric arrays in a `.mat` file, each by the address that MATLAB would know it by.

`rf` is a variable, `data.rf` a field, `data(3).rf` that of an element of a struct array, `data{2}` a cell; elements
count down the columns from 1. Versions 4 to 7.2 are read by scipy (extra `matlab`); 7.3 is HDF5 with its axes in
reverse, where cells and struct arrays are datasets of references (MathWorks, "MAT-File Versions"; the attribute
`MATLAB_class` names the kind). Invariant: an array comes out as MATLAB shows it, whichever version it was saved in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, MissingExtraError, require
from ..recording.layout import one_line
from .hdf5 import names, opened, text_attribute, values

_NUMERIC = {"double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
_DEPTH = 8
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class MatArray:
    """One array of numbers, not yet loaded."""

    address: str
    shape: tuple[int, ...]
    load: Callable[[], NDArray[Any]]

    @property
    def place(self) -> str:
        """The address without indices: one for all elements of a struct array or cell."""
        return re.sub(r"\([0-9]+\)|\{[0-9]+\}", "", self.address)


@contextmanager
def mat_arrays(path: Path) -> Iterator[list[MatArray]]:
    """All arrays of the file, while it is open; a missing class of version 7.3 counts as numbers.

    Raises `FormatError` for a damaged file, `MissingExtraError` for an older version without scipy.
    """
    if h5py.is_hdf5(path):
        with opened(path, "MATLAB 7.3 file") as file:
            variables = [name for name in names(file) if not name.startswith("#")]
            yield [found for name in variables for found in _in_hdf5(path, file, file[name], name, 0)]
    else:
        listed = call_scipy(path, "whosmat")
        nested = [name for name, _, kind in listed if kind in ("struct", "cell")]
        loaded = load_v5(path, nested) if nested else {}
        yield [
            *(MatArray(name, shape, _loader(path, name)) for name, shape, kind in listed if kind in _NUMERIC),
            *(found for name, value in loaded.items() for found in _in_v5(name, value, 0)),
        ]


def named(arrays: Iterable[MatArray], address: str) -> list[MatArray]:
    """The arrays that an address means: one, or without indices all elements of a struct array or cell in order.

    A name alone also finds a field of that name, if there is one such place only.
    """
    there = list(arrays)
    address = address.replace(" ", "")
    if exact := [a for a in there if a.address in (address, address.replace("(1)", ""))]:
        return exact
    if inside := [a for a in there if a.place == address]:
        return inside
    fields = [a for a in there if a.place.rpartition(".")[2] == address]
    return fields if len({a.place for a in fields}) == 1 else []


def listed(arrays: Sequence[MatArray]) -> str:
    """What is there, for a message: addresses with shapes, elements of one shape together."""
    groups: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for array in arrays:
        groups.setdefault((array.place, array.shape), []).append(array.address)
    texts = [
        f"{addresses[0]}{f' to {addresses[-1]}' if addresses[1:] else ''} ({' x '.join(map(str, shape))})"
        for (_, shape), addresses in groups.items()
    ]
    return ", ".join([*texts[:_SHOWN], *["…"][: len(texts) > _SHOWN]]) or "no numbers"


def load_v5(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    """Variables of a file of version 4 to 7.2, those that it has. Errors: as `mat_arrays`."""
    loaded = call_scipy(path, "loadmat", variable_names=names)
    return {name: np.asarray(loaded[name]) for name in names if name in loaded}


def call_scipy(path: Path, function: str, **options: Any) -> Any:
    """A function of `scipy.io` on the file; whatever it raises for damaged files is a `FormatError`."""
    try:
        return getattr(require("scipy.io", "matlab"), function)(path, **options)
    except (MissingExtraError, MemoryError):
        raise
    except NotImplementedError as error:  # scipy's answer to 7.3
        raise FormatError(f"{path}: MATLAB 7.3, expected version 7 or older: try the format mat") from error
    except Exception as error:  # for damaged files scipy raises anything from TypeError to zlib.error
        raise FormatError(f"{path}: not a sound MATLAB file ({one_line(error)})") from error


def _loader(path: Path, name: str) -> Callable[[], NDArray[Any]]:
    return lambda: load_v5(path, [name])[name]


def _in_v5(address: str, value: Any, depth: int) -> Iterator[MatArray]:
    if not isinstance(value, np.ndarray) or depth > _DEPTH:
        return
    if value.dtype.names:
        for k, element in enumerate(value.ravel(order="F"), 1):
            prefix = address if value.size == 1 else f"{address}({k})"
            for field in value.dtype.names:
                yield from _in_v5(f"{prefix}.{field}", element[field], depth + 1)
    elif value.dtype == object:
        for k, element in enumerate(value.ravel(order="F"), 1):
            yield from _in_v5(f"{address}{{{k}}}", element, depth + 1)
    elif value.dtype.kind in "iufc" and value.ndim > 1:
        yield MatArray(address, value.shape, lambda: value)


def _in_hdf5(path: Path, file: Any, item: Any, address: str, depth: int) -> Iterator[MatArray]:
    if depth > _DEPTH:
        return
    if isinstance(item, h5py.Group):
        for field, child in item.items():
            if (
                _refers(child) and _class(child) != "cell"
            ):  # a struct array: each field refers to its elements
                for k, reference in enumerate(values(path, child).ravel(), 1):
                    place = f"{address}({k}).{field}"
                    yield from _in_hdf5(path, file, file[reference], place, depth + 1)
            else:
                yield from _in_hdf5(path, file, child, f"{address}.{field}", depth + 1)
    elif _refers(item):
        for k, reference in enumerate(values(path, item).ravel(), 1):
            yield from _in_hdf5(path, file, file[reference], f"{address}{{{k}}}", depth + 1)
    elif (
        isinstance(item, h5py.Dataset)
        and len(item.shape or ()) > 1
        and _class(item) in _NUMERIC | {""}
        and "MATLAB_empty" not in item.attrs
    ):
        yield MatArray(address, item.shape[::-1], lambda: values(path, item).T)


def _refers(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and h5py.check_ref_dtype(item.dtype) is not None


def _class(item: Any) -> str:
    return text_attribute(item, "MATLAB_class")
