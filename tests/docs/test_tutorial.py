"""The tutorial is true: its commands, run in its order as they are printed, with real processes and sockets.

What differs from what a reader types is all here:

    pip install …               left out: it is installed
    ports 5555 to 5557, 8080    free ones, so that nothing else on this machine is in the way
    Ctrl-C                      SIGINT, to the terminals that have no end of their own
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch")

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
PORTS = ("5555", "5556", "5557", "8080")
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', flags=re.DOTALL | re.MULTILINE)
LAST_TERMINAL = "terminal 4"
START_S, COMMAND_S, END_S = 120.0, 300.0, 60.0


def free_ports(count: int) -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in sockets]


class Reader:
    """Somebody who follows the page in `folder`, and keeps what was printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: dict[str, str] = {}
        """By command line, as printed on the page."""
        self.terminals: dict[str, tuple[subprocess.Popen[str], Path]] = {}
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))

    def _words(self, line: str) -> list[str]:
        line = re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda match: self.ports[match[0]], line)
        program, *words = shlex.split(line)
        assert program == "usert", line
        return [sys.executable, "-m", "usert", *words]

    def run(self, line: str) -> None:
        done = subprocess.run(
            self._words(line), cwd=self.folder, capture_output=True, text=True, timeout=COMMAND_S
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        self.said[line] = done.stdout

    @contextmanager
    def terminal(self, name: str, line: str) -> Iterator[None]:
        output = self.folder / f"{name}.log"
        with output.open("w") as log:
            process = subprocess.Popen(
                self._words(line), cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, text=True
            )
        self.terminals[name] = process, output
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def waits_for(self, name: str, text: str) -> None:
        process, output = self.terminals[name]
        deadline = time.monotonic() + START_S
        while text not in output.read_text():
            assert process.poll() is None, f"{name} ended: {output.read_text()}"
            assert time.monotonic() < deadline, f"{name}: no {text!r} in {output.read_text()}"
            time.sleep(0.05)

    def ends(self, name: str, number: signal.Signals | None = None) -> str:
        """What the terminal printed, when it has ended, in good order."""
        process, output = self.terminals[name]
        if number is not None:
            process.send_signal(number)
        assert process.wait(END_S) == 0, output.read_text()
        return output.read_text()


def blocks() -> list[tuple[str, str, list[str]]]:
    """(kind, title, lines) of each fence of the page."""
    text = PAGE.read_text(encoding="utf-8")
    return [(kind, title, body.splitlines()) for kind, title, body in FENCE.findall(text)]


@pytest.mark.slow
def test_the_tutorial(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    with ExitStack() as terminals:
        for kind, title, lines in blocks():
            if kind == "toml":
                (tmp_path / title).write_text("\n".join(lines), encoding="utf-8")
            elif title in ("", LAST_TERMINAL):
                for line in lines:
                    if not line.startswith("pip install "):
                        reader.run(line)
            else:
                (line,) = lines
                terminals.enter_context(reader.terminal(title, line))
                reader.waits_for(title, "Ctrl-C ends")
                if "view" in line:
                    page = f"http://127.0.0.1:{reader.ports['8080']}/"
                    with urllib.request.urlopen(page, timeout=10) as answer:
                        assert "usert" in answer.read().decode()
        served = reader.ends("terminal 1")
        assert "frames sent" in reader.ends("terminal 2", signal.SIGINT)
        reader.ends("terminal 3", signal.SIGINT)

    said = {line.split("usert ", 1)[1].split(" --")[0]: text for line, text in reader.said.items()}
    assert "40 of 512 samples x 128 lines" in said["info monday.h5"]
    assert re.search(
        r"^0:8  mean strain 0\.9\d %, median quality (1\.00|0\.9\d)", said["run monday.h5"], re.M
    )
    assert (tmp_path / "strain.png").stat().st_size > 10_000
    assert "accepted" in said["train monday.h5 tuesday.h5"]
    weights = re.search(r"weights\.safetensors \((\w+)\), made_by usert train", said["info my-bundle"])
    assert weights is not None
    # the fine-tuned weights are those that made the images
    assert weights[1] in said["status"]
    assert re.search(r"bundle +my-bundle", said["status"])
    lines = re.findall(r"^(\w+) ", said["watch"], re.M)
    assert "live" in lines, said["watch"]
    strains = [float(x) for x in re.findall(r"strain ([+-][\d.]+) %", said["watch"])]
    assert max(strains) - min(strains) > 0.3, said["watch"]  # the hand presses, and lets go
    assert "freeze" in said["control freeze"]
    images = re.search(r"(\d+) images", served)
    assert images is not None
    assert int(images[1]) > 10
    assert os.listdir(tmp_path / "my-bundle")
