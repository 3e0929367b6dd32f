"""docs/files.md: its program makes a recording, and its tables name all that there is in a file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from usert.recording import Recording
from usert.runtime.record.contents import FRAME, GAP, IMAGE

PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")


def test_the_program_makes_a_recording(tmp_path: Path) -> None:
    (program,) = re.findall(r'^```python title="by_hand.py"\n(.*?)^```$', PAGE, re.DOTALL | re.M)
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    with Recording(tmp_path / "by-hand.h5") as recording:
        assert (len(recording), recording.shape, recording.dtype) == (10, (512, 128), np.dtype(np.int16))
        assert recording.scan.line_pitch_mm == 0.2
        assert recording.frame(9).samples.std() > 1000


@pytest.mark.parametrize("row", [FRAME, IMAGE, GAP])
def test_every_column_of_a_record_is_told(row: np.dtype[np.void]) -> None:
    assert row.names is not None
    assert [name for name in row.names if f"`{name}`" not in PAGE] == []
