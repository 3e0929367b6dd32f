"""Readers in a process of their own: results come over as they are, and what breaks there is one line here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from usert.errors import FormatError, MissingExtraError
from usert.formats import About, Declared, ImportOptions, isolated
from usert.formats.isolated import isolated_about, isolated_read

OPTIONS = ImportOptions(variables=("rf",))


# Called in the child, which imports this module.


def three_arrays(path: Path, options: ImportOptions) -> Iterator[np.ndarray[Any, Any]]:
    assert options == OPTIONS
    for dtype in (">i2", "<f8", "|u1"):
        yield np.arange(6).reshape(2, 3).T.astype(dtype)


def process(path: Path, options: ImportOptions) -> Iterator[np.ndarray[Any, Any]]:
    while True:
        yield np.array(os.getpid())


def stated(path: Path, options: ImportOptions) -> About:
    return About(geometry=Declared(fs_hz=40e6), notes=("a note",))


def refused(path: Path, options: ImportOptions) -> Iterator[np.ndarray[Any, Any]]:
    yield np.zeros(1)
    raise MissingExtraError("scipy is not installed")


def mistaken(path: Path, options: ImportOptions) -> About:
    raise KeyError("a mistake of ours")


def crashing(path: Path, options: ImportOptions) -> Iterator[np.ndarray[Any, Any]]:
    yield np.zeros(1)
    os.write(2, b"free(): invalid pointer\n")
    os.kill(os.getpid(), signal.SIGSEGV)


def endless(path: Path, options: ImportOptions) -> Iterator[np.ndarray[Any, Any]]:
    yield np.array(os.getpid())
    while True:
        pass


def large(path: Path, options: ImportOptions) -> Iterator[np.ndarray[Any, Any]]:
    yield np.broadcast_to(np.zeros(1), (1 << 26,))  # which takes memory as it is sent


def swelling(path: Path, options: ImportOptions) -> About:
    return About(notes=(str(np.ones(1 << 27).sum()),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a.mat").write_bytes(b"damaged")
    return tmp_path / "a.mat"


def child_of(path: Path) -> int:
    with closing(isolated_read(process)(path, OPTIONS)) as found:
        return int(next(found))


def test_arrays_come_over_as_they_are(path: Path) -> None:
    found = list(isolated_read(three_arrays)(path, OPTIONS))
    for array, dtype in zip(found, (">i2", "<f8", "|u1"), strict=True):
        assert array.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(array, np.arange(6).reshape(2, 3).T)
    assert isolated_about(stated)(path, OPTIONS) == stated(path, OPTIONS)


def test_errors_of_usert_come_over_and_mistakes_stay_mistakes(path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"^scipy is not installed$"):
        list(isolated_read(refused)(path, OPTIONS))
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        isolated_about(mistaken)(path, OPTIONS)


def test_a_child_is_kept_for_the_next_file_also_where_no_more_was_asked_for(path: Path) -> None:
    first = child_of(path)
    assert first != os.getpid()
    with pytest.raises(MissingExtraError):
        list(isolated_read(refused)(path, OPTIONS))
    assert child_of(path) == first
    with (
        closing(isolated_read(process)(path, OPTIONS)) as one,
        closing(isolated_read(process)(path, OPTIONS)) as two,
    ):
        assert int(next(one)) != int(next(two))


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (crashing, r"its reader crashed \(SIGSEGV\), expected a sound file: damaged\?"),
        (endless, "not read within 0 s of computing"),
    ],
)
def test_a_crash_and_an_endless_loop_are_one_line_and_leave_no_process(
    path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, read: Any, message: str
) -> None:
    monkeypatch.setattr(isolated, "_FEWEST_S", 0.2)
    before = child_of(path)
    with pytest.raises(FormatError, match=rf"^{path}: {message}"):
        list(isolated_read(read)(path, OPTIONS))
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert child_of(path) != before
    assert capfd.readouterr() == ("", "")
    assert [file.name for file in path.parent.iterdir()] == ["a.mat"]


def test_memory_is_bounded_by_the_size_of_the_file(path: Path) -> None:
    for read in (isolated_about(swelling), lambda *of: list(isolated_read(large)(*of))):
        with pytest.raises(FormatError, match=r"takes more than 268 MB of memory, expected less for 7 bytes"):
            read(path, OPTIONS)


def test_a_lower_limit_of_the_user_is_kept() -> None:
    script = """
import resource
from usert.formats.isolated import _limit_memory
resource.setrlimit(resource.RLIMIT_AS, (1 << 36, 1 << 36))
_limit_memory(1 << 40)
print(resource.getrlimit(resource.RLIMIT_AS)[0] == 1 << 36)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("True\n", "")


HANGING = """
import sys
from pathlib import Path
from test_isolated_reading import OPTIONS, endless, isolated, isolated_read
isolated._FEWEST_S = 1.0
for pid in isolated_read(endless)(Path(sys.argv[1]), OPTIONS):
    print(pid, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_child_ends_with_its_parent(path: Path, number: signal.Signals) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", HANGING, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": paths},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        assert parent.wait(timeout=60) != 0
    for _ in range(600):  # after SIGTERM it ends when it has computed for its time
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {child} is still there")
