"""`usert serve --follow` and two pairs at once, on a press that `usert replay` sends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jumping_press import Press
from live import TIMEOUT_S
from server_process import ServerProcess, UsertProcess

from usert.phantom.scanner import ScannerConfig
from usert.recording import write_recording
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.record.contents import Record

SHAPE = (512, 128)
FRAMES = 24
START = ("--engine", "onnxruntime", "--threads", "2", "--at-once", "2", "--shape", "512x128", "--lag", "1")


def test_a_press_with_a_jump_is_right_in_every_image_and_most_follow(tmp_path: Path) -> None:
    press = Press(ScannerConfig(shape=SHAPE, period_frames=FRAMES), seed=2)
    recording, made = tmp_path / "press.h5", tmp_path / "record.h5"
    write_recording(recording, (replace(press.frame(k), sequence=k) for k in range(FRAMES)))
    rf, strain = f"ipc://{tmp_path}/rf", f"ipc://{tmp_path}/strain"
    record = "--record", made, "--record-displacement"
    with ServerProcess(
        "--rf", rf, "--publish", strain, "--follow", "--every-frame", *START, *record
    ) as server:
        server.line("strain on")
        replay = UsertProcess("replay", recording, "--publish", rf, "--rate", "25")
        with StrainClient(strain) as client, replay:
            wait_s = 120.0
            while (image := client.receive(wait_s)) and image.current.sequence < FRAMES - 1:
                wait_s = TIMEOUT_S
            replay.rest()
        server.signal()
        assert server.rest()[0] == 0
    quarter = 0.25 / press.scan.cycles_per_sample
    inner = slice(32, -32), slice(4, -4)
    with Record(made) as read:
        pairs = [(int(row["reference"]), int(row["current"])) for row in read.images]
        assert pairs == sorted(pairs)
        assert len(pairs) >= FRAMES - 2
        for k, pair in enumerate(pairs):
            error = np.abs(read.array("displacement", k)[0] - press.truth(*pair)[0])[inner]
            assert error[(read.array("quality", k) >= 0.7)[inner]].max(initial=0) < quarter, pair
        followed = [name.endswith(b", following") for name in read.images["engine"]]
    assert not followed[0]
    assert sum(followed) >= 12
