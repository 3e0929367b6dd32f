"""The contracts find what is wrong with an engine and a reader of someone else's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = '''
import numpy as np
import pytest

from usert.formats import Format
from usert.runtime.imaging.estimate import Estimate
from usert.testing import EngineContract, MadeFile, ReaderContract


class Wrong:
    """Answers into one array again and again, of noise, in float64, whatever comes."""

    name = "wrong"
    strain_window_at = staticmethod(lambda scan: 3)
    kept = np.zeros((4, 300, 60))

    def warm_up(self, shape, scan=None):
        pass

    def run(self, reference, current, scan=None):
        rows, lines = reference.shape[:2]
        self.kept[:] = np.random.default_rng().standard_normal(self.kept.shape)
        parts = self.kept[:, :rows, :lines]
        return Estimate(displacement=parts[:2], strain=parts[2], quality=parts[3])

    def close(self):
        assert not hasattr(self, "closed")
        self.closed = True


class TestEngine(EngineContract):
    @pytest.fixture
    def engine(self):
        return Wrong()


def read_lines_first(path, options):
    yield from np.frombuffer(path.read_bytes(), "<i2").reshape(3, 17, 40)


class TestReader(ReaderContract):
    @pytest.fixture
    def made(self, tmp_path):
        frames = np.random.default_rng(0).integers(-9, 9, (3, 40, 17), dtype="<i2")
        (tmp_path / "a").write_bytes(frames.transpose(0, 2, 1).tobytes())
        return MadeFile(Format(read_lines_first, ("",)), tmp_path / "a", frames, transposes=False)


class TestForgotten(EngineContract):
    """Says of no engine what it is."""
'''


def test_what_breaks_a_promise_fails_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(PROGRAM, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-rA",
        "--tb=line",
        "test_wrong.py",
    ]
    out = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    lines = re.findall(r"^(PASSED|FAILED|ERROR) test_wrong.py::(\S+)", out, re.MULTILINE)

    def of(suite: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for verdict, name in lines:
            if name.startswith(suite):
                found.setdefault(verdict, set()).add(name.partition("::test_")[2].partition("[")[0])
        return found

    assert of("TestEngine") == {
        "PASSED": {"it_names_library_and_device", "the_strain_window_fits_the_frames", "it_warms_up",
                   "iq_frames_are_taken", "float_frames_are_taken"},
        "FAILED": {"results_lie_on_the_grid_of_the_frames", "estimates_are_never_written_again",
                   "a_pair_gives_the_same_again", "bytes_in_other_order_and_views_give_the_same",
                   "bad_frames_are_refused_in_one_line", "it_closes_twice"},
    }  # fmt: skip
    assert of("TestReader") == {
        "PASSED": {"what_it_states_of_itself_can_be", "a_damaged_file_is_read_or_is_one_line"},
        "FAILED": {
            "samples_come_out_as_they_were_made",
            "a_cut_a_foreign_and_an_empty_file_are_each_one_line",
        },
    }
    assert set(of("TestForgotten")) == {"ERROR"}
    assert "override the fixture `engine`" in out
