"""Small valid files of IQ in every format that `usert import` reads as IQ, and recordings of it, for the same tests.

Also the options that people get wrong where IQ is concerned. Invariant: each file is read without a fault with the
options that it names.
"""

from __future__ import annotations

import gzip
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from foreign_files import (
    FRAMES,
    LINES,
    SAMPLES,
    SCAN,
    ForeignFile,
    fill_uff,
    hdf5_bytes,
    mat_bytes,
    saved_bytes,
)
from plus_and_matlab import as_v73, sequence

from usert.frame import RFFrame
from usert.recording import RecordingWriter, write_recording

PAIRS = np.random.default_rng(1).integers(-3000, 3000, (FRAMES, SAMPLES, LINES, 2), dtype=np.int16)
COMPLEX = (PAIRS[..., 0] + 1j * PAIRS[..., 1]).astype(np.complex64)
COMPOUND = np.zeros(COMPLEX.shape, [("real", "<f4"), ("imag", "<f4")])
COMPOUND["real"], COMPOUND["imag"] = PAIRS[..., 0], PAIRS[..., 1]
ALONG = PAIRS.transpose(0, 1, 3, 2).reshape(FRAMES, 2 * SAMPLES, LINES)
"""I and Q in turns along depth."""
ACROSS = PAIRS.reshape(FRAMES, SAMPLES, 2 * LINES)
"""A line of I, a line of Q, and so on."""
DOWN = {"demodulation_mhz": "6"}

KINDS = (None, "rf", "iq", "iq-pairs", "iq-lines", "IQ", "")
DEMODULATIONS = (
    None,
    "6",
    "0:6,20:5",
    "20:5,0:6",
    "0:6,0:5",
    "0:6,400:5",
    "0:6,1e9:5",
    "-3:6,nan:5",
    "0:6,20:-5",
)
DEMODULATIONS += (
    "0",
    "-6",
    "6000000",
    "0.006",
    "1e-9",
    "1e999",
    "nan",
    "0:nan",
    "six",
    "",
    ":",
    "0:6,20",
    "0:6:3",
)
DEMODULATIONS += (
    "\x1b[2J",
    "0:6,\x85",
    "6" * 400,
    "0:" + "6" * 5000,
    ",".join(f"{row}:6" for row in range(5000)),
)
OTHERS: tuple[dict[str, Any], ...] = (
    {"rows": "8:30"},
    {"rows": "0:1"},
    {"rows": "60:70"},
    {"transpose": True},
    {"radius_mm": 40.0, "line_angle_deg": 0.5, "line_pitch_mm": None},
    {"fs_mhz": 2.0},
    {"fs_mhz": 1e-3},
)
"""Further options of `usert import` that count the rows and lines that are left of I and Q."""


def valid_iq_files(reader: str) -> list[ForeignFile]:
    """Those of IQ in a format, or of `recording`; none where the format has no IQ."""
    return list(_MAKERS[reader]()) if reader in _MAKERS else []


def _clarius() -> Iterator[ForeignFile]:
    frames = b"".join(bytes(8) + frame.transpose(1, 0, 2).astype("<i2").tobytes() for frame in PAIRS)
    content = struct.pack("<5I", 2, FRAMES, LINES, SAMPLES, 4) + frames
    text = b"type: IQ\ntransmit frequency: 10 MHz\nsampling rate: 15 MHz\ndelay samples: 20\n"
    yield ForeignFile("a_iq.raw", content, (("a_iq.yml", text),), DOWN)


def _matlab() -> Iterator[ForeignFile]:
    stack, pairs, along = COMPLEX.transpose(1, 2, 0), PAIRS.transpose(1, 2, 0, 3), ALONG.transpose(1, 2, 0)
    field = {**DOWN, "variable": ["IQData.bf"]}
    one: dict[str, Any] = {**DOWN, "variable": []}
    for packed in (False, True):
        yield ForeignFile("a.mat", mat_bytes({"iq": stack, "fs": 10e6}, do_compression=packed), options=one)
        content = mat_bytes({"IQData": {"bf": stack[:, :, None]}, "other": np.eye(3)}, do_compression=packed)
        yield ForeignFile("a.mat", content, options=field)
    yield ForeignFile("a.mat", mat_bytes({"iq": COMPLEX[0].astype(complex)}, format="4"), options=one)
    yield ForeignFile("a.mat", mat_bytes({"iq": pairs}), options={**one, "kind": "iq"})
    yield ForeignFile("a.mat", mat_bytes({"iq": along}), options={**one, "kind": "iq-pairs"})
    parts = COMPOUND.transpose(1, 2, 0)  # MATLAB's own way of complex numbers in HDF5
    yield ForeignFile("a.mat", _written("a.mat", partial(as_v73, iq=parts)), options=one)
    struct_of = _written("a.mat", partial(as_v73, IQData={"bf": parts[:, :, None]}, fs=10e6))
    yield ForeignFile("a.mat", struct_of, options=field)


def _metaimage() -> Iterator[ForeignFile]:
    for image, stored in (("RF_IQ_LINE", ALONG), ("RF_I_LINE_Q_LINE", ACROSS)):
        for packed in ("False", "True"):
            more: dict[str, Any] = {"image": image, "CompressedData": packed, "ElementSpacing": "0.02 0.1 1"}
            for orientation, turned in (("FM", stored.transpose(0, 2, 1)), ("UN", stored)):
                content = _written("a.mha", partial(sequence, orientation=orientation, stored=turned, **more))
                yield ForeignFile("a.mha", content, options=DOWN)


def _nrrd() -> Iterator[ForeignFile]:
    def image(stored: np.ndarray[Any, Any], encoding: str, *lines: str) -> bytes:
        sizes = " ".join(map(str, stored.shape[::-1]))
        head = ["NRRD0005", "type: short", f"dimension: {stored.ndim}", "endian: little", f"sizes: {sizes}"]
        body = stored.astype("<i2").tobytes()
        body = gzip.compress(body, mtime=0) if encoding == "gzip" else body
        return "\n".join([*head, f"encoding: {encoding}", *lines, "", ""]).encode() + body

    first, last = PAIRS.transpose(0, 2, 1, 3), PAIRS[0].transpose(2, 1, 0)
    for encoding in ("raw", "gzip"):
        kinds = "kinds: complex domain domain list", "spacings: NaN 0.02 0.1 NaN"
        yield ForeignFile("a.nrrd", image(first, encoding, *kinds), options=DOWN)
        yield ForeignFile("a.nrrd", image(last, encoding, "kinds: domain domain complex"), options=DOWN)
        for kind, stored in (("RF_IQ_LINE", ALONG), ("RF_I_LINE_Q_LINE", ACROSS)):
            keys = (
                "kinds: domain domain list",
                f"UltrasoundImageType:={kind}",
                "UltrasoundImageOrientation:=FM",
            )
            content = image(stored.transpose(0, 2, 1), encoding, *keys)
            yield ForeignFile("a.igs.nrrd", content, options=DOWN)


def _numpy() -> Iterator[ForeignFile]:
    for array in (COMPLEX, COMPLEX[0].astype(">c8"), COMPLEX.astype(complex), COMPOUND):
        yield ForeignFile("a.npy", saved_bytes(np.save, array), options=DOWN)
    for kind, array in (("iq", PAIRS), ("iq", PAIRS[0]), ("iq-pairs", ALONG), ("iq-lines", ACROSS)):
        yield ForeignFile("a.npy", saved_bytes(np.save, array), options={**DOWN, "kind": kind})
    yield ForeignFile("a.npz", saved_bytes(np.savez_compressed, COMPLEX), options=DOWN)


def _raw() -> Iterator[ForeignFile]:
    for kind, array in (("iq", PAIRS), ("iq-pairs", ALONG), ("iq-lines", ACROSS)):
        rows, lines = array.shape[1:3]
        told = {**DOWN, "kind": kind, "shape": f"{rows}x{lines}", "sample_type": "int16"}
        yield ForeignFile("a.raw", array.astype("<i2").tobytes(), options=told)


def _recording() -> Iterator[ForeignFile]:
    down = replace(SCAN, fs_hz=10e6, demodulation_hz=6e6)
    steps = replace(down, demodulation_hz=((0.0, 6e6), (20.0, 5e6)))
    curved = replace(down, radius_mm=40.0, line_angle_deg=0.5, first_depth_mm=3.0)
    truths = [np.full((2, SAMPLES, LINES), k, np.float32) for k in range(FRAMES - 1)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.h5")
        for scan, samples, some in (
            (down, PAIRS, truths),
            (steps, PAIRS.astype(np.float32), None),
            (curved, PAIRS, None),
        ):
            write_recording(path, [RFFrame(samples=frame, scan=scan) for frame in samples], some)
            yield ForeignFile("a.h5", path.read_bytes())
        with RecordingWriter(Path(folder, "b.h5")) as writer:
            writer.append(RFFrame(samples=PAIRS[0], scan=steps))
            yield ForeignFile("a.h5", writer.path.read_bytes())  # as a writer leaves it that is killed


def _uff() -> Iterator[ForeignFile]:
    pixels = COMPLEX.transpose(0, 2, 1).reshape(FRAMES, 1, 1, -1)  # along z first

    def fill(file: Any, data: np.ndarray[Any, Any], modulation_hz: float | None) -> None:
        fill_uff(file, data.real)
        del file["b_data/data"]
        file["b_data/data/real"], file["b_data/data/imag"] = data.real, data.imag
        if modulation_hz is not None:
            file["b_data/modulation_frequency"] = np.array([[modulation_hz]])

    yield ForeignFile("a.uff", hdf5_bytes(lambda file: fill(file, pixels, 6e6)))
    yield ForeignFile("a.uff", hdf5_bytes(lambda file: fill(file, pixels.T, 6e6)))
    yield ForeignFile("a.uff", hdf5_bytes(lambda file: fill(file, pixels, 0.0)))  # its real part is RF
    yield ForeignFile("a.uff", hdf5_bytes(lambda file: fill(file, pixels, None)), options=DOWN)


def _zea() -> Iterator[ForeignFile]:
    def fill(name: str, pixels: np.ndarray[Any, Any], file: Any) -> None:
        file[f"data/beamformed_data{name}"] = pixels.astype("<f4")
        file["scan/center_frequency"] = np.float32(6.25e6)

    for name, pixels in (("/pixels", PAIRS.transpose(0, 2, 1, 3)), ("", PAIRS)):
        yield ForeignFile("a.hdf5", hdf5_bytes(partial(fill, name, pixels)), options=DOWN)


def _written(name: str, write: Callable[[Path], Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write(path)
        return path.read_bytes()


_MAKERS: dict[str, Callable[[], Iterator[ForeignFile]]] = {
    "clarius": _clarius,
    "mat": _matlab,
    "metaimage": _metaimage,
    "nrrd": _nrrd,
    "numpy": _numpy,
    "raw": _raw,
    "recording": _recording,
    "uff": _uff,
    "zea": _zea,
}
