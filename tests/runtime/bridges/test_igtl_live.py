"""OpenIGTLink out of a live server of its own process: what pyigtl gets, and what bad clients cost."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import zmq
from igtl_ends import BridgeProcess, heard, pyigtl_client, raw_client, read_message, told_by
from live import TIMEOUT_S, numbered_message
from server_process import ServerProcess
from tiny_bundle import STRAIN

from usert.bundle import Bundle
from usert.runtime.bridges.igtl_devices import BLANK_PERCENT
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.sources.child_process import ChildProcess
from usert.runtime.sources.simulated import LesionRatio, simulated_scanner

LARGE = (512, 128)


def line_of(child: ChildProcess, pattern: str) -> str:
    found = child.wait_for(pattern, stopping=lambda: False)
    assert found is not None
    return str(found[1])


def test_a_pyigtl_client_gets_the_images_of_a_live_server_as_they_are() -> None:
    """Simulated scanner, default bundle, all processes; compared with what a client of the server gets."""
    published = "tcp://127.0.0.1:0"
    lesion = LesionRatio(simulated_scanner("small"))
    with ChildProcess(["replay", "--simulate", "--publish", published, "--rate", "6"]) as source:
        rf = line_of(source, r"rf on (\S+)")
        words = ["serve", "--rf", rf, "--publish", published, "--threads", "1"]
        with ChildProcess(words) as server:
            strain = line_of(server, r"strain on (\S+)")
            words = ["igtl", "--strain", strain, "--rf", rf, "--port", "0", "--stale-ms", "60000"]
            with BridgeProcess(*words) as bridge, StrainClient(strain) as client:
                port = int(bridge.wait_for(r"OpenIGTLink on 127\.0\.0\.1:(\d+)"))
                with pyigtl_client(port) as slicer:
                    compare_some(slicer, client, lesion)
                assert bridge.alive
                code, summary, errors = bridge.end()
    assert (code, errors) == (0, "")
    assert "clients 1, disconnected 0, rejected 0" in summary


def compare_some(slicer: Any, client: StrainClient, lesion: LesionRatio) -> None:
    """Three live images, one of them with strain to see."""
    images: dict[int, StrainMessage] = {}
    same, seen_lesion, deadline = 0, False, time.monotonic() + 180
    while same < 3 or not seen_lesion:
        assert time.monotonic() < deadline, f"{same} images the same, lesion seen: {seen_lesion}"
        message = client.receive(TIMEOUT_S)
        if message is None:  # on a busy machine the engine compiles for longer
            continue
        images[round(message.current.acquired_ns / 1e3)] = message
        strain, quality, bmode = (heard(slicer, f"usert_{name}") for name in ("strain", "quality", "bmode"))
        image = images.get(round(1e6 * strain.timestamp)) or images.get(round(1e6 * strain.timestamp) - 1)
        if image is None or image.state not in ("live", "held") or quality.timestamp != strain.timestamp:
            continue
        readable = image.quality >= image.readable_quality
        np.testing.assert_array_equal(
            strain.image[0], np.where(readable, np.float32(100) * image.strain, BLANK_PERCENT)
        )
        np.testing.assert_array_equal(quality.image[0], image.quality)
        for shown, down in ((strain, 1), (quality, 1), (bmode, LARGE[0] // bmode.image.shape[1])):
            spacing = np.linalg.norm(shown.ijk_to_world_matrix[:3, :3], axis=0)
            expected = image.scan.line_pitch_mm, down * image.scan.axial_pitch_mm, 1
            np.testing.assert_allclose(spacing, expected, rtol=1e-6)
            np.testing.assert_allclose(shown.ijk_to_world_matrix[:3, 3], 0, atol=1e-5)
        assert abs(strain.timestamp - image.current.acquired_ns / 1e9) < 2e-6
        assert strain.timestamp <= time.time()
        same += 1
        if abs(image.readable_strain) > 0.002 and readable.mean() > 0.9:
            filled = np.where(readable, strain.image[0], 100 * image.strain)
            assert 0.3 < lesion.of(filled) < 0.65  # harder than what is around it, and upright
            seen_lesion = True
    told = told_by(slicer)
    assert told["stream"] == "simulated"
    assert told["age_exact"] is True


def test_clients_who_stand_still_or_are_killed_cost_the_server_no_image(bundle: Bundle) -> None:
    """One frame at a time, each of which must become an image: with such clients as without."""
    words = ["--rf", "tcp://127.0.0.1:0", "--rf-bind", "--rf-type", "pull", "--publish", "tcp://127.0.0.1:0"]
    words += ["--bundle", str(bundle.folder), "--threads", "1"]
    sent = 0

    def send() -> None:
        nonlocal sent
        stamp = {"time_ns": time.monotonic_ns(), "acquired_ns": time.time_ns()}
        push.send_multipart(numbered_message(sent, shape=LARGE, clock=clock_id(), **stamp).to_parts())
        sent += 1

    def counted(frames: int) -> int:
        """Send so many, and say how many became images; one before, for after a pause the first has no partner."""
        send()
        came = 0
        for _ in range(frames):
            send()
            image = client.receive(TIMEOUT_S)
            while image is not None and image.current.sequence < sent - 1:  # of those before the counting
                image = client.receive(TIMEOUT_S)
            came += image is not None
        return came

    with ServerProcess(*words) as server, zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.linger, push.sndtimeo = 0, round(1e3 * TIMEOUT_S)
        push.connect(server.wait_for(r"rf on (\S+)"))
        strain = server.wait_for(r"strain on (\S+)")
        server.wait_for("(Ctrl-C) ends")
        with (
            StrainClient(strain) as client,
            BridgeProcess("igtl", "--strain", strain, "--port", "0") as bridge,
        ):
            port = int(bridge.wait_for(r"OpenIGTLink on 127\.0\.0\.1:(\d+)"))
            while client.receive(0.05) is None:  # until the subscription has arrived
                send()
            assert counted(30) == 30  # nobody there
            with raw_client(port, receive_bytes=4096) as still:
                assert counted(60) == 60  # one who never reads
                killed = killed_in_the_middle(port)
                assert counted(30) == 30
                assert killed < 0
                with pyigtl_client(port) as slicer:
                    wait_for_image(slicer, counted)
                fields, body = read_message(still)  # whole, if old
                assert fields["body_size"] == len(body)
            assert bridge.alive
            code, summary, errors = bridge.end()
        assert server.alive
    assert (code, errors) == (0, "")
    assert "clients 3" in summary


def wait_for_image(slicer: Any, counted: Any) -> None:
    """Until an image of now has come, frame after frame."""
    deadline = time.monotonic() + TIMEOUT_S
    before_s = time.time()
    while True:
        assert time.monotonic() < deadline
        assert counted(1) == 1
        message = slicer.wait_for_message("usert_strain", timeout=0.1)
        if message is not None and message.timestamp > before_s:
            assert (message.image == np.float32(100 * STRAIN)).all()
            return


def killed_in_the_middle(port: int) -> int:
    """Exit code of a pyigtl client that was killed while images came to it."""
    program = (
        "import pyigtl, time\n"
        f"client = pyigtl.OpenIGTLinkClient('127.0.0.1', {port})\n"
        "assert client.wait_for_message('usert_status', timeout=20)\n"
        "print('here', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "here\n"
        finally:
            process.kill()
    return process.returncode
