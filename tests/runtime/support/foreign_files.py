"""Small valid files of RF in every format that `usert import` reads, and recordings: for tests that then damage them.

Made by the format's own library or byte by byte; IQ: `foreign_iq`. Invariant: each is read without a fault.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import lzallright
import numpy as np
import scipy.io

from usert.frame import PLAIN_GEOMETRY, RFFrame, Scan
from usert.recording import RecordingWriter, write_recording

FRAMES, SAMPLES, LINES = 3, 40, 17
STACK = np.random.default_rng(0).integers(-3000, 3000, (FRAMES, SAMPLES, LINES), dtype=np.int16)
SCAN = Scan(fs_hz=40e6, f0_hz=6.25e6, sound_speed_m_s=1540, line_pitch_mm=0.2)
_LINES_FIRST = STACK.transpose(0, 2, 1).astype("<i2")
_YML = b"""frames: 3
transmit frequency: 5 MHz
type: RF
sampling rate: 20 MHz
delay samples: 281
lines:
  - {rx element: 0, tx element: 1.5, angle: 0 \xc2\xb0}
"""
_PLUS = {
    "UltrasoundImageOrientation": "FM",
    "UltrasoundImageType": "RF_REAL",
    **{f"Seq_Frame{k:04d}_Timestamp": f"{12.5 + 0.05 * k:.6f}" for k in range(FRAMES)},
    **{f"Seq_Frame{k:04d}_ImageStatus": "INVALID" if k == 1 else "OK" for k in range(FRAMES)},
}
_CLARIUS = struct.pack("<5I", 2, FRAMES, LINES, SAMPLES, 2) + b"".join(
    struct.pack("<Q", 235855423246 + 33_000_000 * k) + frame.tobytes() for k, frame in enumerate(_LINES_FIRST)
)


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """A file by name and content, and what lies beside it."""

    name: str
    content: bytes
    beside: tuple[tuple[str, bytes], ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    """Options of `usert import` that it needs besides a geometry, by the name of the parameter."""


def valid_files(reader: str) -> list[ForeignFile]:
    """Those of RF in a format, or of `recording`."""
    return list(MAKERS[reader]())


def _alpinion() -> Iterator[ForeignFile]:
    for compressed in (False, True):
        for samples in (STACK[0], STACK[0].astype(np.float64)):
            count = {"SampleNum": np.array([30], np.int32), "EnsembleNum": 1}
            yield ForeignFile("a.mat", mat_bytes({"BfData": samples, **count}, do_compression=compressed))


def _clarius() -> Iterator[ForeignFile]:
    half = bytearray(_CLARIUS)
    half[len(half) // 2 :] = bytes(len(half) // 2)  # of noise nothing would be packed
    packed = _lzop(bytes(half))
    yield ForeignFile("a_rf.raw", _CLARIUS, (("a_rf.yml", _YML),))
    yield ForeignFile("a_rf.raw.lzo", packed, (("a_rf.yml", _YML),))
    for name, content in (("./a_rf.raw", _CLARIUS), ("./a_rf.raw.lzo", packed)):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            for member, inside in ((name, content), ("./a_rf.yml", _YML)):
                info = tarfile.TarInfo(member)
                info.size = len(inside)
                archive.addfile(info, io.BytesIO(inside))
        yield ForeignFile("a.tar", made.getvalue())


def _lzop(content: bytes) -> bytes:
    """As lzop packs it, in blocks of 2000 bytes, with checksums of both sides."""
    name = b"a_rf.raw"
    head = struct.pack(">HHHBBIIIIB", 0x1040, 0x20A0, 0x0940, 1, 5, 0x303, 0o100644, 0, 0, len(name)) + name
    made = [b"\x89LZO\x00\r\n\x1a\n", head, struct.pack(">I", zlib.adler32(head))]
    for at in range(0, len(content), 2000):
        plain = content[at : at + 2000]
        packed = min(lzallright.LZOCompressor().compress(plain), plain, key=len)
        made.append(struct.pack(">IIII", len(plain), len(packed), zlib.adler32(plain), zlib.crc32(plain)))
        if len(packed) < len(plain):
            made.append(struct.pack(">II", zlib.adler32(packed), zlib.crc32(packed)))
        made.append(packed)
    return b"".join([*made, bytes(4)])


def _matlab() -> Iterator[ForeignFile]:
    stack = STACK.transpose(1, 2, 0)
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = STACK[0], STACK[1]
    structs = np.zeros((1, 2), [("rf", object), ("fs", object)])
    for k in range(2):
        structs[0, k]["rf"], structs[0, k]["fs"] = STACK[k], 40e6
    for compressed in (False, True):
        yield ForeignFile("a.mat", mat_bytes({"rf": stack, "fs": 40e6}, do_compression=compressed))
        yield ForeignFile("a.mat", mat_bytes({"data": structs, "rf": stack}, do_compression=compressed))
        yield ForeignFile("a.mat", mat_bytes({"cells": cells, "rf": stack}, do_compression=compressed))
    yield ForeignFile("a.mat", mat_bytes({"rf": STACK[0].astype(np.float64)}, format="4"))

    def fill(file: Any) -> None:
        file["rf"] = STACK.transpose(0, 2, 1)
        file["rf"].attrs["MATLAB_class"] = np.bytes_("int16")
        file["#refs#/b"] = STACK[0].T
        file["#refs#/c"] = STACK[1].T
        refers = file.create_dataset("cells", (2, 1), dtype=h5py.ref_dtype)
        refers.attrs["MATLAB_class"] = np.bytes_("cell")
        refers[0, 0], refers[1, 0] = file["#refs#/b"].ref, file["#refs#/c"].ref
        file.create_group("data").attrs["MATLAB_class"] = np.bytes_("struct")
        file["data/rf"] = STACK[0].T
        file["data/fs"] = np.array([[40e6]])

    content = bytearray(hdf5_bytes(fill, userblock_size=512))
    content[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    yield ForeignFile("a.mat", bytes(content))


def _metaimage() -> Iterator[ForeignFile]:
    for packed in (False, True):
        for name in ("LOCAL", "a.raw"):
            body = _LINES_FIRST.tobytes()
            body = zlib.compress(body) if packed else body
            fields = {
                "ObjectType": "Image",
                "NDims": "3",
                "BinaryData": "True",
                "BinaryDataByteOrderMSB": "False",
                "CompressedData": str(packed),
                "CompressedDataSize": str(len(body)),
                "DimSize": f"{SAMPLES} {LINES} {FRAMES}",
                "Kinds": "domain domain list",
                "ElementSpacing": "0.01925 0.2 1",
                "ElementType": "MET_SHORT",
                **_PLUS,
                "ElementDataFile": name,
            }
            if not packed:
                del fields["CompressedDataSize"]
            text = "".join(f"{key} = {value}\n" for key, value in fields.items()).encode()
            if name == "LOCAL":
                yield ForeignFile("a.igs.mha", text + body)
            else:
                yield ForeignFile("a.mhd", text, ((name, body),))


def _nrrd() -> Iterator[ForeignFile]:
    for encoding in ("raw", "gzip"):
        for name in ("", "a.bin"):
            body = _LINES_FIRST.tobytes()
            body = gzip.compress(body, mtime=0) if encoding == "gzip" else body
            lines = ["NRRD0005", "# of a test", "type: short", "dimension: 3", "endian: little"]
            lines += [f"sizes: {SAMPLES} {LINES} {FRAMES}", "kinds: domain domain list", "byte skip: 0"]
            lines += [f"encoding: {encoding}", "spacings: 0.01925 0.2 NaN"]
            lines += [f"data file: {name}"] * bool(name) + [f"{key}:={value}" for key, value in _PLUS.items()]
            text = "\n".join([*lines, "", ""]).encode()
            if name:
                yield ForeignFile("a.nhdr", text, ((name, body),))
            else:
                yield ForeignFile("a.igs.nrrd", text + body)


def _numpy() -> Iterator[ForeignFile]:
    for stack in (STACK, STACK[0], np.asfortranarray(STACK.astype(">f4"))):
        yield ForeignFile("a.npy", saved_bytes(np.save, stack))
    yield ForeignFile("a.npz", saved_bytes(np.savez, STACK))
    yield ForeignFile("a.npz", saved_bytes(np.savez_compressed, STACK))


def _raw() -> Iterator[ForeignFile]:
    yield ForeignFile("a.raw", STACK.astype("<f4").tobytes())


def fill_uff(file: Any, data: np.ndarray[Any, Any], **how: Any) -> None:
    """A beamformed object of USTB on a linear scan, in an open HDF5 file."""
    group = file.create_group("b_data")
    group.attrs["class"] = "uff.beamformed_data"
    group.create_dataset("data", data=data, **how)
    group.create_group("scan").attrs["class"] = "uff.linear_scan"
    group["scan/x_axis"] = 0.2e-3 * np.arange(LINES)
    group["scan/z_axis"] = 5e-3 + 0.01925e-3 * np.arange(SAMPLES)
    group.create_group("pulse").attrs["class"] = "uff.pulse"
    group["pulse/center_frequency"] = np.array([[6.25e6]])


def _uff() -> Iterator[ForeignFile]:
    pixels = _LINES_FIRST.reshape(FRAMES, 1, 1, -1).astype("<f4")
    yield ForeignFile("a.uff", hdf5_bytes(lambda file: fill_uff(file, pixels)))
    yield ForeignFile("a.uff", hdf5_bytes(lambda file: fill_uff(file, pixels.T)))
    chunked = {"chunks": (1, 1, 1, SAMPLES * LINES), "compression": "gzip", "shuffle": True}
    yield ForeignFile("a.uff", hdf5_bytes(lambda file: fill_uff(file, pixels, **chunked), libver="latest"))

    def sector(file: Any) -> None:
        fill_uff(file, pixels)
        scan = file["b_data/scan"]
        scan.attrs["class"] = "uff.sector_scan"
        scan["azimuth_axis"] = 0.01 * (np.arange(LINES) - (LINES - 1) / 2)
        scan["depth_axis"] = 45e-3 + 0.01925e-3 * np.arange(SAMPLES)
        scan.create_group("origin").attrs["class"] = "uff.point"
        scan["origin/distance"], scan["origin/azimuth"] = 40e-3, np.pi

    yield ForeignFile("a.uff", hdf5_bytes(sector))


def _ultrasonix() -> Iterator[ForeignFile]:
    header = (16, FRAMES, LINES, SAMPLES, 16, *range(8), 2, 10_000_000, 40_000_000, 30, 256, 0)
    for tag in (b"", struct.pack("<i", 9)):
        frames = b"".join(tag + frame.tobytes() for frame in _LINES_FIRST)
        yield ForeignFile("a.rf", struct.pack("<19i", *header) + frames)


def _zea() -> Iterator[ForeignFile]:
    def fill(file: Any, name: str, data: np.ndarray[Any, Any], **how: Any) -> None:
        file.create_dataset(f"data/beamformed_data{name}", data=data[..., np.newaxis].astype("<f4"), **how)
        file["scan/center_frequency"] = np.full(11, 6.25e6, np.float32)
        file["scan/sound_speed"] = np.float32(1480)

    yield ForeignFile("a.hdf5", hdf5_bytes(lambda file: fill(file, "/pixels", _LINES_FIRST)))
    yield ForeignFile("a.hdf5", hdf5_bytes(lambda file: fill(file, "", STACK)))
    chunked = {"chunks": (1, SAMPLES, LINES, 1), "compression": "gzip"}
    yield ForeignFile("a.hdf5", hdf5_bytes(lambda file: fill(file, "", STACK, **chunked), libver="latest"))


def _recording() -> Iterator[ForeignFile]:
    frames = [
        RFFrame(samples=samples, scan=SCAN, acquired_ns=10**18 + 40_000_000 * k)
        for k, samples in enumerate(STACK)
    ]
    truths = [np.full((2, SAMPLES, LINES), k, np.float32) for k in range(FRAMES - 1)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.h5")
        for some in (None, truths):
            write_recording(path, frames, some)
            yield ForeignFile("a.h5", path.read_bytes())
        with RecordingWriter(Path(folder, "b.h5")) as writer:
            for frame in frames:
                writer.append(frame)
            yield ForeignFile("a.h5", writer.path.read_bytes())  # as a writer leaves it that is killed

    def fill(file: Any) -> None:
        file["rf"] = STACK.astype("<f4")
        file["acquired_ns"] = np.arange(FRAMES)
        for name in PLAIN_GEOMETRY:
            file.attrs[name] = getattr(SCAN, name)

    yield ForeignFile("a.h5", hdf5_bytes(fill))


def mat_bytes(variables: dict[str, Any], **how: Any) -> bytes:
    """A file of `scipy.io.savemat`."""
    made = io.BytesIO()
    scipy.io.savemat(made, variables, **how)
    return made.getvalue()


def hdf5_bytes(fill: Callable[[Any], None], **how: Any) -> bytes:
    """An HDF5 file that `fill` has filled; `how` are options of `h5py.File`."""
    made = io.BytesIO()
    with h5py.File(made, "w", **how) as file:
        fill(file)
    return made.getvalue()


def saved_bytes(save: Callable[..., None], array: np.ndarray[Any, Any]) -> bytes:
    """What one of NumPy's functions that save makes of an array."""
    made = io.BytesIO()
    save(made, array)
    return made.getvalue()


MAKERS: dict[str, Callable[[], Iterator[ForeignFile]]] = {
    "alpinion": _alpinion,
    "clarius": _clarius,
    "mat": _matlab,
    "metaimage": _metaimage,
    "nrrd": _nrrd,
    "numpy": _numpy,
    "raw": _raw,
    "recording": _recording,
    "uff": _uff,
    "ultrasonix": _ultrasonix,
    "zea": _zea,
}
