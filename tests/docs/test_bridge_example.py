"""The programs of docs/scanners.md as they are printed: the senders compile, a real server images what is sent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from compilers import compiler

from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.protocol.rf_message import RFMessage

PAGE = Path(__file__).parents[2] / "docs" / "scanners.md"
ENOUGH_S, ENDS_S = 120.0, 60.0


def printed(title: str) -> str:
    """The program of that title."""
    (found,) = re.findall(rf'^```\w+ title="{title}"\n(.*?)^```$', PAGE.read_text(), re.DOTALL | re.M)
    return str(found)


def test_the_sender_in_python_sends_what_it_is_given(tmp_path: Path) -> None:
    text = printed("sender.py").replace("tcp://127.0.0.1:5555", f"ipc://{tmp_path}/rf")
    frames = [np.full((4, 3), k, np.float64) for k in range(3)]
    names: dict[str, object] = {"my_frames": lambda: frames}
    exec(text, names)
    sender = names["sender"]
    assert isinstance(sender, FrameSender)
    assert (sender.sent, sender.dropped) == (0, 3)


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_the_senders_in_c_and_cpp_compile(tmp_path: Path, language: str) -> None:
    command = [compiler(language), f"sender.{language}", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    (folder, shown) = re.findall(rf"^cd (examples/senders/{language}) && (.*)$", PAGE.read_text(), re.M)[0]
    shutil.copytree(PAGE.parents[1] / folder, tmp_path, dirs_exist_ok=True)
    subprocess.run(shown, shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "speckle").exists()
    include = f'#include "usert_sender.{"h" if language == "c" else "hpp"}"\n#include <stddef.h>\n'
    source = f"{include}const short *my_frame(void);\nint main(void) {{\n{printed(f'sender.{language}')}}}\n"
    (tmp_path / f"sender.{language}").write_text(source)
    subprocess.run([*command, *(["-std=c++17"] * (language == "cpp"))], cwd=tmp_path, check=True)


def test_iq_is_sent_with_two_lines_more() -> None:
    lines = printed("IQ")
    told = {"np": np, "z": np.full((4, 3), 1 + 2j), "header": header()}
    exec(lines, told)
    parts = [json.dumps(told["header"]).encode(), told["samples"].tobytes()]
    frame = RFMessage.from_parts(parts).frame
    assert frame.scan.demodulation_hz == 6.4e6
    assert np.array_equal(frame.signal, told["z"])


def header() -> dict[str, object]:
    """The header of the program's first frame."""
    (text,) = re.findall(r"^    header = (\{.*?^    \})", printed("bridge.py"), re.DOTALL | re.M)
    told: dict[str, object] = eval(
        text, {"sequence": 0, "samples": np.zeros((4, 3)), "clock": "c", "time": time}
    )
    return told


def test_images_of_what_the_bridge_sends(tmp_path: Path) -> None:
    (tmp_path / "bridge.py").write_text(printed("bridge.py"))
    # ipc: no port to be taken by somebody else
    rf, strain = f"ipc://{tmp_path}/rf", f"ipc://{tmp_path}/strain"
    usert = [sys.executable, "-m", "usert"]
    bridge = subprocess.Popen([sys.executable, "bridge.py", rf], cwd=tmp_path, stderr=subprocess.PIPE)
    server = subprocess.Popen(
        [*usert, "serve", "--rf", rf, "--publish", strain],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        watch = subprocess.run(
            [*usert, "watch", "--strain", strain, "--count", "20", "--seconds", str(ENOUGH_S)],
            capture_output=True, text=True, timeout=2 * ENOUGH_S, check=True,
        )  # fmt: skip
        with StrainClient(strain) as client:
            images = [client.receive(ENOUGH_S) for _ in range(20)]
        server.terminate()
        said, _ = server.communicate(timeout=ENDS_S)
    finally:
        for process in (bridge, server):
            process.kill()
        _, complaint = bridge.communicate()
        server.communicate()
    assert not complaint
    assert "watch: 20 images" in watch.stdout
    assert "session 1: 'my-scanner', 512 x 64 int16" in said
    assert "malformed 0" in said
    assert "failed 0" in said
    # the speckle is pressed by a known amount, and seen to be
    assert max(abs(image.mean_strain) for image in images if image is not None) > 0.002
