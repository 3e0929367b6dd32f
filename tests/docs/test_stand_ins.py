"""The commands by which docs/scanners.md tries a scanner that is not there give a stream that passes every check."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from usert.testing.listen import ListenConfig, SenderListener

ROOT = Path(__file__).parents[2]
SECTION = (
    (ROOT / "docs" / "scanners.md").read_text(encoding="utf-8").partition("\n## Without the device\n")[2]
)
PARAGRAPHS = SECTION.partition("```sh\n")[2].partition("```")[0].strip().split("\n\n")
PROGRAMS = {"python": [sys.executable], "usert": [sys.executable, "-m", "usert"], "cc": ["cc"]}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("paragraph", PARAGRAPHS, ids=["clarius", "us4us", "telemed", "Image_Reference"])
def test_a_stand_in_is_a_good_sender(
    paragraph: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if paragraph.startswith("cc ") and shutil.which("cc") is None:
        pytest.skip("no cc: apt-get install gcc")
    rf, port = f"ipc://{tmp_path}/rf", str(free_port())
    text = paragraph.replace("tcp://127.0.0.1:5555", rf).replace(" /tmp/", f" {tmp_path}/")
    text = re.sub(r"(_probe|_server)\.py", rf"\g<0> --port {port}", text)
    monkeypatch.chdir(ROOT)
    with ExitStack() as stack:
        for line in re.sub(r"(?<=127\.0\.0\.1:)\d+", port, text).splitlines():
            path, _, command = line.rpartition(" python ")
            words = shlex.split(f"python {command}" if path else line)
            given = path.removeprefix("PYTHONPATH=")
            paths = os.pathsep.join(filter(None, (given, os.environ.get("PYTHONPATH", ""))))
            process = subprocess.Popen(
                [*PROGRAMS[words[0]], *words[1:]],
                env=os.environ | {"PYTHONPATH": paths},
                stdout=subprocess.DEVNULL,
            )
            if words[0] == "cc":
                assert process.wait() == 0
                continue
            stack.callback(process.wait)
            stack.callback(process.kill)
        with SenderListener(ListenConfig(rf=rf, seconds=60, messages=40)) as listener:
            report = listener.run()
    assert report.messages == 40
    streams = {check.stream for check in report.checks} - {""}
    assert streams == {request.node.callspec.id}
    # of the checks those that a busy machine does not change
    told = {check.name for check in report.checks if check.verdict == "passed"}
    assert {"message", "header", "geometry", "samples", "format", "sessions", "values", "signal"} <= told, (
        report.table
    )
