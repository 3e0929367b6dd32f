"""Strain out by OpenIGTLink: a real live server, the bridge, and pyigtl's client."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import zmq
from igtl_ends import BridgeProcess, heard, pyigtl_client, raw_client, read_message
from live import SCAN, TIMEOUT_S, Feed, Source, make_server, numbered_message, running, wait_until
from server_process import ServerProcess
from tiny_bundle import QUALITY, STRAIN

from usert.bundle import Bundle
from usert.errors import OptionError
from usert.runtime.bridges.igtl_bridge import BridgeConfig, IgtlBridge
from usert.runtime.bridges.igtl_devices import BLANK_PERCENT
from usert.runtime.child import Child
from usert.runtime.client import StrainClient
from usert.runtime.clock import clock_id
from usert.runtime.engine import Engine
from usert.runtime.server import StrainServer
from usert.runtime.simulated import LesionRatio, simulated_scanner
from usert.runtime.wire import StrainMessage

LARGE = (512, 128)


def line_of(child: Child, pattern: str) -> str:
    found = child.wait_for(pattern, stopping=lambda: False)
    assert found is not None
    return str(found[1])


def bridged(strain: str, **changes: Any) -> IgtlBridge:
    return IgtlBridge(BridgeConfig(strain=strain, port=0, **changes))


def wait_for_client(bridge: IgtlBridge) -> None:
    wait_until(lambda: bridge.audience.served == 1)


def told_by(slicer: Any) -> dict[str, Any]:
    """The newest status."""
    told: dict[str, Any] = json.loads(heard(slicer, "usert_status").string)
    return told


def strain_of(slicer: Any, sequence: int) -> Any:
    """The strain of this frame: it came before the status that tells of it."""
    wait_until(lambda: told_by(slicer).get("sequence") == sequence)
    return heard(slicer, "usert_strain")


def test_a_pyigtl_client_gets_the_images_of_a_live_server_as_they_are() -> None:
    """Simulated scanner, default bundle, all processes; compared with what a client of the server gets."""
    published = "tcp://127.0.0.1:0"
    lesion = LesionRatio(simulated_scanner("small"))
    with Child(["replay", "--simulate", "--publish", published, "--rate", "3"]) as source:
        rf = line_of(source, r"rf on (\S+)")
        words = ["serve", "--rf", rf, "--publish", published, "--threads", "1", "--lag", "4"]
        with Child(words) as server:
            strain = line_of(server, r"strain on (\S+)")
            words = ["igtl", "--strain", strain, "--rf", rf, "--port", "0", "--stale-ms", "60000"]
            with BridgeProcess(*words) as bridge, StrainClient(strain) as client:
                port = int(bridge.wait_for(r"OpenIGTLink on 127\.0\.0\.1:(\d+)"))
                with pyigtl_client(port) as slicer:
                    compare_some(slicer, client, lesion)
                assert bridge.alive
                code, summary, errors = bridge.end()
    assert (code, errors) == (0, "")
    assert "clients 1, cut 0, turned away 0" in summary


def compare_some(slicer: Any, client: StrainClient, lesion: LesionRatio) -> None:
    """Three live images, one of them with strain to see."""
    images: dict[int, StrainMessage] = {}
    same, seen_lesion, deadline = 0, False, time.monotonic() + 60
    while same < 3 or not seen_lesion:
        assert time.monotonic() < deadline, f"{same} images the same, lesion seen: {seen_lesion}"
        message = client.receive(TIMEOUT_S)
        assert message is not None
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
        if abs(image.readable_strain) > 0.003 and readable.all():
            assert 0.3 < lesion.of(strain.image[0]) < 0.65  # harder than what is around it, and upright
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


def test_values_spacing_and_times_of_one_image(feed: Feed, server: StrainServer) -> None:
    with running(bridged(server.publish_endpoint)) as bridge, pyigtl_client(bridge.audience.port) as slicer:
        wait_for_client(bridge)
        feed.prime()
        sent = feed.next()
        image = feed.image()
        assert (image.state, image.current.sequence) == ("live", sent.frame.sequence)
        strain, quality = strain_of(slicer, sent.frame.sequence), heard(slicer, "usert_quality")
        np.testing.assert_array_equal(strain.image[0], np.float32(100) * image.strain)
        np.testing.assert_array_equal(quality.image[0], np.full_like(image.quality, QUALITY))
        assert strain.timestamp == pytest.approx(sent.frame.acquired_ns / 1e9, abs=1e-6)
        spacing = np.linalg.norm(strain.ijk_to_world_matrix[:3, :3], axis=0)
        np.testing.assert_allclose(spacing, (SCAN.line_pitch_mm, SCAN.axial_pitch_mm, 1), rtol=1e-6)
        assert bridge.sent <= bridge.received


def test_an_image_that_has_become_old_is_blank_and_called_stale(feed: Feed, server: StrainServer) -> None:
    with (
        running(bridged(server.publish_endpoint, stale_ms=300.0)) as bridge,
        pyigtl_client(bridge.audience.port) as slicer,
    ):
        wait_for_client(bridge)
        for _ in range(2):  # it comes back after a pause
            feed.prime()
            shown = []
            while len(shown) < 2 or shown[-1].image.max() > BLANK_PERCENT:
                shown.append(heard(slicer, "usert_strain"))
            assert shown[-2].image.min() == np.float32(100 * STRAIN)
            assert shown[-1].timestamp == shown[-2].timestamp  # the same image
            wait_until(lambda: told_by(slicer)["state"] == "stale")


def test_a_source_without_a_wall_clock_has_the_time_of_arrival(feed: Feed, server: StrainServer) -> None:
    with running(bridged(server.publish_endpoint)) as bridge, pyigtl_client(bridge.audience.port) as slicer:
        wait_for_client(bridge)
        feed.prime()
        before_s = time.time()
        sent = feed.next(acquired_ns=0)
        assert before_s - 0.01 < strain_of(slicer, sent.frame.sequence).timestamp <= time.time()


def test_one_stream_is_sent_the_one_asked_for_or_the_first(engine: Engine, source: Source) -> None:
    with running(make_server(engine, source)) as server:
        for asked, expected in (("", "one"), ("two", "two")):
            with (
                running(bridged(server.publish_endpoint, stream=asked)) as bridge,
                pyigtl_client(bridge.audience.port) as slicer,
            ):
                wait_for_client(bridge)
                told: dict[str, Any] = {}
                for sequence in range(1, 200):
                    # "one" leads, so that it is heard first
                    for stream in ("one", "two")[: 1 + (sequence > 20 or asked == "two")]:
                        source.send(numbered_message(sequence, stream=stream, time_ns=time.monotonic_ns()))
                        time.sleep(0.01)
                    status = slicer.wait_for_message("usert_status", timeout=0.0)
                    if status is not None:
                        told = json.loads(status.string)
                        assert told.get("stream", expected) == expected
                    if told.get("stream") == expected and bridge.received > 10:
                        break
                assert told["stream"] == expected


def test_the_bridge_waits_for_the_server_says_so_and_goes_on_when_it_comes(
    engine: Engine, source: Source, tmp_path: Any
) -> None:
    endpoint = f"ipc://{tmp_path}/strain"
    lines: list[str] = []
    bridge = IgtlBridge(BridgeConfig(strain=endpoint, port=0), say=lines.append)
    with running(bridge), pyigtl_client(bridge.audience.port) as slicer:
        assert told_by(slicer) == {"state": "stale"}
        wait_until(lambda: any(line.endswith(f"no images from {endpoint}, waiting") for line in lines))
        for _ in range(2):  # the server starts, ends, and starts again
            with running(make_server(engine, source, publish=endpoint)), StrainClient(endpoint) as client:
                Feed(source, client).prime()
                before = bridge.received
                feed = Feed(source, client)
                feed.sequence = 1000
                deadline = time.monotonic() + TIMEOUT_S
                while bridge.received < before + 2:
                    assert time.monotonic() < deadline
                    feed.next()
                    client.receive(0.05)
        assert heard(slicer, "usert_strain").image.shape == (1, 24, 8)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(OptionError, match="--stale-ms: got 0"):
        BridgeConfig(strain="tcp://127.0.0.1:1", stale_ms=0.0)
    with pytest.raises(OptionError, match="without keys"):
        bridged("tcp://10.0.0.1:5556")
    with pytest.raises(OptionError, match="without keys"):
        bridged("tcp://127.0.0.1:1", rf="tcp://10.0.0.1:5556")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--host", "0.0.0.0"),
            "OpenIGTLink is not encrypted: use 127.0.0.1 and an SSH tunnel, or give --insecure",
        ),
        (("--host", "203.0.113.7", "--insecure"), "--host 203.0.113.7 --port 0: cannot bind"),
        (("--prefix", "my scanner"), "--prefix: got 'my scanner'"),
        (("--blank", "nan"), "--blank: got nan"),
        (("--stale-ms", "-1"), "--stale-ms: got -1"),
        (("--key", "absent"), "expected --key and --server-key"),
    ],
)
def test_what_is_wrong_is_one_line(words: tuple[str, ...], message: str) -> None:
    with BridgeProcess("igtl", "--strain", "tcp://127.0.0.1:1", "--port", "0", *words) as bridge:
        code, _, errors = bridge.rest()
    assert (code, errors.count("\n")) == (1, 1)
    assert message in errors


def test_a_port_in_use_is_one_line() -> None:
    with bridged("tcp://127.0.0.1:1") as first:
        port = str(first.audience.port)
        with BridgeProcess("igtl", "--strain", "tcp://127.0.0.1:1", "--port", port) as second:
            assert second.rest()[::2] == (
                1,
                f"usert: --host 127.0.0.1 --port {port}: cannot bind: Address already in use\n",
            )


def test_slow_checksums_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    bridged("tcp://127.0.0.1:1")
    assert caplog.text == ""
    monkeypatch.setitem(sys.modules, "crcmod._crcfunext", None)
    bridged("tcp://127.0.0.1:1")
    assert "crcmod was installed without a C compiler" in caplog.text


def test_without_pyigtl_a_line_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['pyigtl'] = None\n"
        "from usert.runtime.bridges.igtl_bridge import BridgeConfig, IgtlBridge\n"
        "from usert.errors import MissingExtraError\n"
        "try:\n"
        "    IgtlBridge(BridgeConfig(strain='tcp://127.0.0.1:1'))\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    assert done.stdout == "pyigtl is not installed: pip install 'usert[igtl]'\n"
