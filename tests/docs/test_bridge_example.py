"""The bridge of docs/scanners.md, run as it is printed: a real server reads its frames and makes images of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.protocol.rf_message import RFMessage

PAGE = Path(__file__).parents[2] / "docs" / "scanners.md"
ENOUGH_S, ENDS_S = 120.0, 60.0


def program() -> str:
    (found,) = re.findall(r'^```python title="bridge.py"\n(.*?)^```$', PAGE.read_text(), re.DOTALL | re.M)
    return str(found)


def test_iq_is_sent_with_two_lines_more() -> None:
    (lines,) = re.findall(r'^```python title="IQ"\n(.*?)^```$', PAGE.read_text(), re.DOTALL | re.M)
    told = {"np": np, "z": np.full((4, 3), 1 + 2j), "header": header()}
    exec(lines, told)
    parts = [json.dumps(told["header"]).encode(), told["samples"].tobytes()]
    frame = RFMessage.from_parts(parts).frame
    assert frame.scan.demodulation_hz == 6.4e6
    assert np.array_equal(frame.signal, told["z"])


def header() -> dict[str, object]:
    """The header of the program's first frame."""
    (text,) = re.findall(r"^    header = (\{.*?^    \})", program(), re.DOTALL | re.M)
    told: dict[str, object] = eval(
        text, {"sequence": 0, "samples": np.zeros((4, 3)), "clock": "c", "time": time}
    )
    return told


def test_images_of_what_the_bridge_sends(tmp_path: Path) -> None:
    (tmp_path / "bridge.py").write_text(program())
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
