"""The commands by which docs/scanners.md tries a scanner that is not there, to images of a live server."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from server_process import ServerProcess

from usert.runtime.clients.strain_client import StrainClient

ROOT = Path(__file__).parents[2]
SECTION = (
    (ROOT / "docs" / "scanners.md").read_text(encoding="utf-8").partition("\n## Without the device\n")[2]
)
PARAGRAPHS = SECTION.partition("```sh\n")[2].partition("```")[0].strip().split("\n\n")
IMAGE_S = 120.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("paragraph", PARAGRAPHS, ids=["clarius", "us4us", "Image_Reference"])
def test_a_stand_in_gives_strain(
    paragraph: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rf, strain, port = f"ipc://{tmp_path}/rf", f"ipc://{tmp_path}/strain", str(free_port())
    text = re.sub(r"(_probe|_server)\.py", rf"\g<0> --port {port}", paragraph).replace(
        "tcp://127.0.0.1:5555", rf
    )
    monkeypatch.chdir(ROOT)
    with ExitStack() as stack:
        for line in re.sub(r"(?<=127\.0\.0\.1:)\d+", port, text).splitlines():
            words = shlex.split(line)
            given = dict(word.split("=") for word in words if word.startswith("PYTHONPATH="))
            path = os.pathsep.join([*given.values(), os.environ.get("PYTHONPATH", "")])
            python = [sys.executable] if "python" in words else [sys.executable, "-m"]
            command = [*python, *words[len(given) + (python[1:] == []) :]]
            process = subprocess.Popen(
                command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
        stack.enter_context(ServerProcess("--rf", rf, "--publish", strain))
        client = stack.enter_context(StrainClient(strain))
        images = [client.receive(IMAGE_S) for _ in range(5)]
    name = request.node.callspec.id
    assert [image is not None and image.stream for image in images] == 5 * [name]
    assert max(image.score for image in images if image is not None) > 0.5
    assert max(abs(image.readable_strain) for image in images if image is not None) > 1e-3
