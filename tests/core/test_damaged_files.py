"""Some damaged files for every reader, and the kinds of damage that were a traceback, a hang or no clear line once.

`python tests/load fuzz-readers` takes as many as one has time for.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from foreign_files import SCAN, STACK, valid_files
from foreign_iq import valid_iq_files
from reader_fuzz import READERS, fuzz_reader

from usert.errors import FormatError, RecordingError
from usert.formats import FORMATS, Declared, ImportOptions, about_files, isolated, read_frames
from usert.recording import Recording


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_read_or_is_one_line(reader: str, tmp_path: Path) -> None:
    findings = fuzz_reader(reader, 40, 0, tmp_path)
    assert not findings.wrong, findings.wrong
    assert findings.kinds.keys() == {"read", "refused"}
    assert list(tmp_path.iterdir()) == []


def test_every_format_and_recordings_are_tried() -> None:
    assert set(READERS) == {*FORMATS, "recording"}


def test_iq_of_every_format_that_has_it_is_tried() -> None:
    assert {reader for reader in READERS if not valid_iq_files(reader)} == {"alpinion", "ultrasonix"}


def refusal(name: str, path: Path) -> str:
    """The one line that says why the file is not read."""
    with pytest.raises(FormatError) as caught:
        list(read_frames(name, [path], SCAN, ImportOptions()))
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def heap_without_end(content: bytes) -> bytes:
    """HDF5 keeps text of any length in a heap; an object in it that has no size makes libhdf5 search without end."""
    at = content.index(b"GCOL") + 16
    return content[:at] + bytes(200) + content[at + 200 :]


def test_hdf5_that_libhdf5_reads_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "_FEWEST_S", 0.2)
    path = tmp_path / "a.uff"
    path.write_bytes(heap_without_end(valid_files("uff")[0].content))
    assert "not read within" in refusal("uff", path)


def test_a_mat_file_that_unpacks_to_more_than_its_size_allows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "_LEAST_BYTES", 1 << 25)
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"rf": np.zeros((5000, 2000))}, do_compression=True)
    assert "takes more than" in refusal("mat", path)


def test_a_recording_does_not_need_the_heap(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(heap_without_end(valid_files("recording")[0].content))
    code = "import sys; from usert.recording import Recording; print(len(Recording(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"{len(STACK)}\n"


def test_a_recording_with_a_damaged_superblock_is_one_line(tmp_path: Path) -> None:
    path, content = tmp_path / "a.h5", valid_files("recording")[0].content
    path.write_bytes(content[:8] + b"\x63" + content[9:])
    with pytest.raises(RecordingError, match="cannot be opened") as caught:
        Recording(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_recording_of_a_killed_writer_is_one_line(tmp_path: Path) -> None:
    """libhdf5 would read it again, with waits that double up to 2^99 ns."""
    path, content = tmp_path / "a.h5", valid_files("recording")[2].content
    path.write_bytes(content[:44] + bytes(4) + content[48:])
    code = "import sys; from usert.recording import Recording; Recording(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "RecordingError" in done.stderr
    assert "after all read attempts" in done.stderr


def _uff(file: Any) -> None:
    file["ghost"] = h5py.SoftLink("/nowhere")


def _zea(file: Any) -> None:
    file["data"] = np.zeros((3, 2))


def _zea_type(file: Any) -> None:
    file["data/beamformed_data"] = np.dtype("<f4")


def _time(file: Any) -> None:
    """An attribute of a type that NumPy does not have."""
    kind, scalar = h5py.h5t.UNIX_D32LE, h5py.h5s.create(h5py.h5s.SCALAR)
    for name, item in ((b"class", file.create_group("b_data")), (b"usert_kind", file)):
        h5py.h5a.create(item.id, name, kind, scalar).write(np.zeros((), "<i4"), mtype=kind)


def _mat_names(file: Any) -> None:
    file[b"r\xff"] = np.zeros((3, 2))


def _mat(file: Any) -> None:
    file["data/rf"] = h5py.SoftLink("/nowhere")
    file["type"] = np.dtype("<f4")
    file["cells"] = h5py.Empty("f4")


@pytest.mark.parametrize(
    ("name", "fill", "message"),
    [
        ("uff", _uff, r"ghost \(no class\), expected one uff.beamformed_data"),
        ("uff", _time, r"not a sound UFF file \(.*[tT]ype"),
        ("zea", _zea, "data holds nothing, expected beamformed_data"),
        ("zea", _zea_type, "holds nothing, expected pixels"),
        ("mat", _mat_names, "not a sound MATLAB 7.3 file"),
        ("mat", _mat, "holds no numbers, expected one array"),
    ],
)
def test_links_that_lead_nowhere_and_things_in_the_place_of_others(
    tmp_path: Path, name: str, fill: Callable[[Any], None], message: str
) -> None:
    path = tmp_path / "a"
    with h5py.File(path, "w") as file:
        fill(file)
    with pytest.raises(FormatError, match=message):
        list(read_frames(name, [path], SCAN, ImportOptions()))


def test_a_recording_with_an_attribute_of_a_type_of_its_own_is_one_line(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        _time(file)
    with pytest.raises(RecordingError, match="damaged or truncated"):
        Recording(tmp_path / "a.h5")


@pytest.mark.parametrize("rows", [(0, 1e300), (-1.7e308, 1.7e308), (0, 5e-324), (5, 5), (20, 0)])
def test_rows_of_a_demodulation_that_its_phase_cannot_count_are_one_line(
    tmp_path: Path, rows: tuple[float, float]
) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(valid_iq_files("recording")[1].content)
    with h5py.File(path, "r+") as file:
        file.attrs["demodulation_hz"] = [(rows[0], 6e6), (rows[1], 5e6)]
    with pytest.raises(RecordingError, match=r"demodulation_hz: got rows .* expected rising ones"):
        Recording(path)


def test_geometry_without_values_is_one_line_or_none(tmp_path: Path) -> None:
    path = tmp_path / "a.uff"
    for value in (np.dtype("<f4"), h5py.Empty("f4"), np.zeros(0)):
        path.write_bytes(valid_files("uff")[0].content)
        with h5py.File(path, "r+") as file:
            del file["b_data/pulse/center_frequency"]
            file["b_data/pulse/center_frequency"] = value
        if isinstance(value, np.ndarray):
            assert about_files("uff", [path]).geometry.f0_hz is None
        else:
            with pytest.raises(FormatError, match="center_frequency holds no values"):
                about_files("uff", [path])


@pytest.mark.parametrize("text", ["delay samples: 5" + " " * 500_000 + "x", "angle:" + " " * 500_000])
def test_text_beside_a_capture_is_searched_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a_rf.raw"
    path.write_bytes(valid_files("clarius")[0].content)
    path.with_suffix(".yml").write_text(text)
    assert about_files("clarius", [path]).geometry == Declared()


def test_directions_of_a_nrrd_are_searched_once(tmp_path: Path) -> None:
    path, content = tmp_path / "a.nrrd", valid_files("nrrd")[0].content
    path.write_bytes(content.replace(b"spacings: 0.01925 0.2 NaN", b"space directions: " + b"(" * 500_000))
    assert about_files("nrrd", [path]).geometry == Declared()


@pytest.mark.parametrize("name", ["metaimage", "numpy", "raw"])
def test_a_great_many_tiny_frames_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    samples = np.zeros((20_000, 2, 2), "<f4")
    if name == "numpy":
        with path.open("wb") as file:
            np.save(file, samples.repeat(16, axis=2))
    else:
        header = b"DimSize = 2 2 20000\nElementType = MET_FLOAT\nElementDataFile = LOCAL\n"
        path.write_bytes(header * (name == "metaimage") + samples.tobytes())
    with pytest.raises(FormatError, match=r"more than 10000 frames of (4|64) samples, .* in another order"):
        list(read_frames(name, [path], SCAN, ImportOptions(shape=(2, 2))))


def test_a_recording_that_claims_more_than_its_file_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(valid_files("recording")[-1].content)
    with h5py.File(path, "r+") as file:
        del file["rf"], file["acquired_ns"]
        file.create_dataset("rf", (10**6, 1000, 1000), "f4", chunks=(1, 100, 100))
    with pytest.raises(RecordingError, match="rf claims 4000000000000 bytes, more than its file can hold"):
        Recording(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "numpy",
            b"\x93NUMPY\x01\x00\x20\x00" + b"{'descr': ('<i2'".ljust(31) + b"\n",
            "not a sound NumPy file",
        ),
        ("numpy", b"PK\x03\x04" + bytes(100), "not a sound NumPy file"),
        ("metaimage", b"DimSize = 2 " + b"9" * 5000 + b"\nElementDataFile = LOCAL\n", "DimSize"),
        (
            "metaimage",
            b"DimSize = 2 2\nElementType = MET\x85\x1b[2J\nElementDataFile = LOCAL\n",
            "MET��\\[2J",
        ),
        (
            "metaimage",
            b"DimSize = 2 2\nElementType = " + b"A" * 70000 + b"\nElementDataFile = LOCAL\n",
            "A … ",
        ),
        (
            "metaimage",
            b"DimSize = 2 2\nElementType = MET_SHORT\nElementDataFile = " + b"A" * 500 + b"\n",
            "cannot be read .*too long",
        ),
        ("nrrd", b"NRRD0004\ntype: short\nencoding: raw\nsizes: 2 " + b"9" * 400 + b"\n\n", "whole numbers"),
    ],
)
def test_what_a_header_states_does_not_spoil_the_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    line = refusal(name, path)
    assert line.isprintable()
    assert len(line) < 1100
    with pytest.raises(FormatError, match=message):
        list(read_frames(name, [path], SCAN, ImportOptions()))
