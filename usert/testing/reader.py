"""What `usert import` promises of the reader of a file format, as tests: derive a class and override `made`.

    from usert.testing import MadeFile, ReaderContract

    class TestMine(ReaderContract):
        @pytest.fixture
        def made(self, tmp_path):
            frames = np.random.default_rng(0).integers(-3000, 3000, (3, 40, 17), dtype=np.int16)
            path = write_my_format(tmp_path / "a.mine", frames)
            return MadeFile(Format(read_mine, (".mine",)), path, frames)

Knows no format.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from usert.errors import FormatError
from usert.formats import FORMATS, Format, ImportOptions, about_files, read_frames
from usert.frame import Scan

_NAME = "under-test"
_FOREIGN = b"P5 100 100 255 " + bytes(200)
_DAMAGED = 40
_RF = Scan(fs_hz=40e6, f0_hz=6.25e6, sound_speed_m_s=1540, line_pitch_mm=0.2)


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A small valid file, made by the format's own library or byte by byte, and what is in it."""

    format: Format
    path: Path
    frames: NDArray[Any]
    """(F, N, M) of RF or (F, N, M, 2) of IQ: int16 or float32 samples that the file holds."""
    scan: Scan = _RF
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of `ImportOptions` that the file needs."""
    transposes: bool = True
    """Whether `transpose` turns the frames of this format."""
    tells_a_cut: bool = True
    """Whether the format states how much it holds, so that half of a file is seen to be that."""


class ReaderContract:
    """Tests of every reader: samples as they were written, and one line for a file that is something else."""

    @pytest.fixture
    def made(self) -> MadeFile:
        """The file under test; to be overridden."""
        raise NotImplementedError("override the fixture `made`")

    @pytest.fixture(autouse=True)
    def _registered(self, made: MadeFile, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(FORMATS, _NAME, made.format)

    def read(self, made: MadeFile, **options: Any) -> NDArray[Any]:
        """The frames of the file, by way of all that `usert import` does with them."""
        stated = ImportOptions(**made.options | options)
        return np.array([frame.samples for frame in read_frames(_NAME, [made.path], made.scan, stated)])

    def refusal(self, made: MadeFile) -> str:
        """The one line with which the file is refused."""
        with pytest.raises(FormatError) as caught:
            self.read(made)
        line = str(caught.value)
        assert line.startswith(f"{made.path}: ")
        assert line.isprintable()
        return line

    def test_samples_come_out_as_they_were_made(self, made: MadeFile) -> None:
        """Row 0 is nearest the probe; types and values stay; a second reading gives the same."""
        found = self.read(made)
        np.testing.assert_array_equal(found, made.frames)
        assert found.dtype == made.frames.dtype
        np.testing.assert_array_equal(self.read(made), found)

    def test_lines_first_is_turned(self, made: MadeFile) -> None:
        """`transpose` swaps samples and lines."""
        if not made.transposes:
            pytest.skip("the format states which axis is depth")
        np.testing.assert_array_equal(self.read(made, transpose=True), made.frames.swapaxes(1, 2))

    def test_what_it_states_of_itself_can_be(self, made: MadeFile) -> None:
        """The kind is that of the frames, and a time stands for each frame or for none."""
        about = about_files(_NAME, [made.path], ImportOptions(**made.options))
        assert about.kind in (None, made.scan.kind)
        stated = made.format.about(made.path, ImportOptions(**made.options))
        assert len(stated.acquired_ns or ()) in (0, len(made.frames))

    def test_a_cut_a_foreign_and_an_empty_file_are_each_one_line(self, made: MadeFile) -> None:
        """A `FormatError` that begins with the path."""
        whole = made.path.read_bytes()
        cuts = (whole[: len(whole) // 2], whole[:30]) if made.tells_a_cut else ()
        for content in (*cuts, _FOREIGN, b""):
            made.path.write_bytes(content)
            self.refusal(made)

    def test_a_damaged_file_is_read_or_is_one_line(self, made: MadeFile) -> None:
        """No traceback, and nothing left beside the file, whatever bytes are changed."""
        whole, chance = made.path.read_bytes(), random.Random(0)
        beside, lines = sorted(made.path.parent.iterdir()), list[str]()
        for _ in range(_DAMAGED):
            damaged = bytearray(whole)
            for _ in range(chance.choice((1, 4, 16))):
                damaged[chance.randrange(min(len(damaged), chance.choice((64, 512, len(damaged)))))] = (
                    chance.randrange(256)
                )
            made.path.write_bytes(damaged)
            try:
                self.read(made)
            except FormatError as error:
                lines.append(str(error))
            assert sorted(made.path.parent.iterdir()) == beside
        assert all(line.isprintable() for line in lines)
