"""`usert import` and `usert info` in this process, and a file of two simulated frames to import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer
from typer.testing import CliRunner, Result

from usert.commands.import_ import import_frames
from usert.commands.info import info
from usert.phantom.scanner import ScannerConfig, SimulatedScanner

app = typer.Typer()
app.command("import")(import_frames)
app.command("info")(info)


def call(*arguments: str | Path) -> Result:
    """Run a command; an error of usert is raised as `main` would see it."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def pressed(tmp_path: Path, *, lines_first: bool = False, samples: tuple[int, int] = (512, 96)) -> Path:
    """Two simulated frames at 6.5 MHz in a `.npy` file."""
    scanner = SimulatedScanner(ScannerConfig(shape=samples))
    stack = np.stack([scanner.frame(k).samples for k in (0, 7)])
    path = tmp_path / "frames.npy"
    np.save(path, stack.transpose(0, 2, 1) if lines_first else stack)
    return path


TOLD = ["--format", "numpy", "--fs-mhz", "40", "--line-pitch-mm", "0.12"]
