"""Files of others, written from the description of their format: PLUS and MATLAB of both kinds."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

STACK = np.random.default_rng(0).integers(-3000, 3000, (3, 7, 5), dtype=np.int16)  # (F, N, M)
TURNED = {
    "FM": STACK.transpose(0, 2, 1),  # written with the fastest axis last
    "FUA": STACK.transpose(0, 2, 1),
    "NM": STACK[:, ::-1].transpose(0, 2, 1),
    "MF": STACK,
    "UFA": STACK,
    "UN": STACK[:, ::-1],
}
"""Frames that hold the same by the orientation that PLUS states."""


def sequence(
    path: Path,
    orientation: str = "FM",
    *,
    image: str = "RF_REAL",
    stored: np.ndarray[Any, Any] | None = None,
    **more: str,
) -> Path:
    """As PLUS writes it: a field a line, those of the frames by number, zlib or not, 16-bit little-endian."""
    stored = TURNED[orientation] if stored is None else stored
    packed = more.pop("CompressedData", "False") == "True"
    body = stored.astype("<i2").tobytes()
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(packed),
        "DimSize": f"{stored.shape[2]} {stored.shape[1]} {len(stored)}",
        "Kinds": "domain domain list",
        "ElementSpacing": "1 1 1",
        "ElementType": "MET_SHORT",
        "UltrasoundImageOrientation": orientation,
        "UltrasoundImageType": image,
        **{f"Seq_Frame{k:04d}_Timestamp": f"{12.5 + 0.05 * k:.6f}" for k in range(len(stored))},
        **{f"Seq_Frame{k:04d}_ProbeToTrackerTransformStatus": "INVALID" for k in range(len(stored))},
        **more,
    }
    name = fields.pop("ElementDataFile", "LOCAL")
    text = "".join(f"{key} = {value}\n" for key, value in fields.items()) + f"ElementDataFile = {name}\n"
    body = zlib.compress(body) if packed else body
    path.write_bytes(text.encode() + (body if name == "LOCAL" else b""))
    if name != "LOCAL":
        (path.parent / name).write_bytes(body)
    return path


def as_v5(path: Path, **variables: Any) -> Path:
    scipy.io.savemat(path, variables)
    return path


def as_v73(path: Path, **variables: Any) -> Path:
    """As MATLAB writes 7.3: dicts are structs, lists of dicts struct arrays, other lists cells."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            _put(file, file, name, value)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def _put(file: Any, group: Any, name: str, value: Any) -> None:
    if isinstance(value, dict):
        group.create_group(name).attrs["MATLAB_class"] = np.bytes_("struct")
        for field, child in value.items():
            _put(file, group[name], field, child)
    elif isinstance(value, list) and isinstance(value[0], dict):
        group.create_group(name).attrs["MATLAB_class"] = np.bytes_("struct")
        for field in value[0]:
            _refer(file, group[name], field, [element[field] for element in value])
    elif isinstance(value, list):
        _refer(file, group, name, value)
        group[name].attrs["MATLAB_class"] = np.bytes_("cell")
    else:
        group[name] = np.asarray(value).T


def _refer(file: Any, group: Any, name: str, children: list[Any]) -> None:
    refer = group.create_dataset(name, (len(children), 1), dtype=h5py.ref_dtype)
    for k, child in enumerate(children):
        place = f"#refs#/{group.name.strip('/').replace('/', '_')}_{name}_{k}"
        _put(file, file, place, child)
        refer[k, 0] = file[place].ref


def as_v5_nested(path: Path, **variables: Any) -> Path:
    """The same of version 5: scipy takes dicts for structs, arrays of objects for cells and struct arrays."""
    return as_v5(path, **{name: _nested(value) for name, value in variables.items()})


def _nested(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if isinstance(value[0], dict):
        array = np.empty((1, len(value)), dtype=[(field, object) for field in value[0]])
        for k, element in enumerate(value):
            array[0, k] = tuple(element.values())
        return array
    cells = np.empty((1, len(value)), dtype=object)
    cells[0] = value
    return cells
