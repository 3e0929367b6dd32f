"""A recording for `usert run`."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_command import speckle, write


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "rec.h5", speckle(3))
