"""What a disk does to a file that is being written, HDF5 does not see; a recording is whole up to there."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from usert.errors import RecordingError
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import Recording, RecordingWriter
from usert.recording.device import Device, _lookup3

Make = Callable[..., RFFrame]

REFUSED = """
import resource
import sys
from pathlib import Path
import numpy as np
from usert.errors import RecordingError
from usert.frame import RFFrame, Scan
from usert.recording import Recording
from usert.recording import RecordingWriter

limit, folder = int(sys.argv[1]), Path(sys.argv[2])
scan = Scan(fs_hz=40e6, f0_hz=6.25e6, sound_speed_m_s=1540, line_pitch_mm=0.108)

def frame(k):
    return RFFrame(samples=np.full((256, 64), k, np.int16), scan=scan, acquired_ns=k)

resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with RecordingWriter(folder / "a.h5") as writer:
    try:
        while True:
            writer.append(frame(len(writer)))
    except RecordingError as error:
        print(len(writer), error)
    for again in range(3):
        try:
            writer.append(frame(len(writer)))
        except RecordingError as error:
            print(len(writer), error)
with Recording(folder / "a.h5") as recording, RecordingWriter(folder / "b.h5") as second:
    second.append(recording.frame(0))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("limit", [60_000, 300_000, 1_000_000, 1_000_001, 1_010_000, 1_030_000])
def test_a_file_that_may_not_grow_is_whole_up_to_there(tmp_path: Path, limit: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, str(limit), str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, ""), "HDF5 must get over it"
    lines = done.stdout.splitlines()
    count = int(lines[0].split()[0])
    assert lines == [f"{count} {tmp_path / 'a.h5'}: cannot be written ([Errno 27] File too large)"] * 4
    assert (tmp_path / "a.h5").stat().st_size <= limit
    with Recording(tmp_path / "a.h5") as recording:
        assert len(recording) == count >= (limit - 60_000) // (2 * 256 * 64)
        assert all((frame.samples == frame.sequence).all() for frame in recording)
    with RecordingWriter(tmp_path / "a.h5", resume=True) as writer:
        assert len(writer) == count


def test_a_full_disk_is_one_line(small_disk: Path, tmp_path: Path) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(512, 128)), seed=1)
    np.save(tmp_path / "frames.npy", np.stack([scanner.frame(k).samples for k in range(4)] * 5))  # 2.6 MB
    scan = ["--format", "numpy", "--fs-mhz", "40", "--f0-mhz", "6.5", "--line-pitch-mm", "0.2"]
    command = [sys.executable, "-m", "usert", "import", str(tmp_path / "frames.npy"), *scan]
    done = subprocess.run([*command, "--out", str(small_disk / "s.h5")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(small_disk.iterdir()) == []


def test_the_first_write_that_fails_freezes_the_file() -> None:
    with Device(Path("/dev/full")) as device:
        device.check()
        device.seek(5)
        assert device.write(b"abcdef") == 6
        with pytest.raises(OSError, match="No space left") as caught:
            device.check()
        assert caught.value.errno == errno.ENOSPC
        device.seek(8)
        device.write(b"DEFG")
        device.seek(4)
        assert device.read(20) == b"\0abcDEFG", "as written, though it is on no disk"
        assert device.seek(0, 2) == 12
        device.truncate(7)
        device.seek(6)
        assert device.read(20) == b"b"


def test_the_checksum_is_that_of_hdf5(tmp_path: Path) -> None:
    assert _lookup3(b"Four score and seven years ago") == 0x17770551  # from lookup3.c
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["a"] = 1
    block = (tmp_path / "a.h5").read_bytes()[:48]
    assert _lookup3(block[:44]).to_bytes(4, "little") == block[44:]


def test_hdf5_reads_the_marks_of_an_open_file_as_its_own(tmp_path: Path, make_frame: Make) -> None:
    path = tmp_path / "a.h5"
    with RecordingWriter(path) as writer:
        for k in range(3):
            writer.append(make_frame(k))
            with h5py.File(path, "r", swmr=True) as file:
                assert file["acquired_ns"].shape == (k + 1,)
        with pytest.raises(OSError, match="unable to lock file"):
            h5py.File(path, "r+")
        with pytest.raises(RecordingError, match=r"a\.h5: .*another process"):
            Device(path)
    with h5py.File(path, "r+") as file:
        assert file["rf"].shape == (3, 128, 16)


def test_a_writer_left_open_ends_with_its_process(tmp_path: Path) -> None:
    script = REFUSED.partition("resource.setrlimit")[0] + "w = RecordingWriter(folder / 'a.h5')\n"
    script += "w.append(frame(7))\nw.append(frame(8))\n"
    done = subprocess.run([sys.executable, "-c", script, "0", str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    with h5py.File(tmp_path / "a.h5", "r") as file:  # closed, not left open
        np.testing.assert_array_equal(file["acquired_ns"], [7, 8])


def test_a_file_with_more_than_frames_is_read_but_not_resumed(tmp_path: Path, make_frame: Make) -> None:
    path = tmp_path / "a.h5"

    def furnish(file: h5py.File) -> None:
        file.create_dataset("notes/marks", (0,), np.int64, maxshape=(None,), chunks=(16,))

    with RecordingWriter(path, furnish=furnish) as writer:
        writer.append(make_frame())
        for k in range(3):
            writer.put("notes/marks", k, 10 * k)
    with Recording(path) as recording:
        assert len(recording) == 1
        assert list(recording.furnished) == ["notes"]
        np.testing.assert_array_equal(recording.furnished["notes"]["marks"], [0, 10, 20])
    with pytest.raises(RecordingError, match=r"a\.h5: .*notes"):
        RecordingWriter(path, resume=True)


def test_a_reader_that_looks_all_the_time_keeps_no_writer_out(tmp_path: Path, make_frame: Make) -> None:
    """Opening for reading takes a lock, too: a file must not be there before its writer holds it."""
    paths = [tmp_path / f"{k}.h5" for k in range(60)]
    begun = [0]
    seen: list[int] = []

    def look() -> None:
        while begun[0] < len(paths):
            k = begun[0]
            try:
                with Recording(paths[k]) as recording:
                    seen.append(len(recording))
            except RecordingError:  # not there yet, or empty
                pass

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for path in paths:
            with RecordingWriter(path) as writer:
                writer.append(make_frame(0))
                writer.append(make_frame(1))
            begun[0] += 1
    finally:
        begun[0] = len(paths)
        reader.join()
    assert seen
