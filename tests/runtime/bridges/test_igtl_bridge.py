"""Strain out by OpenIGTLink: a real live server, the bridge, and pyigtl's client."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from igtl_ends import BridgeProcess, heard, pyigtl_client, told_by
from live import SCAN, TIMEOUT_S, Feed, Source, make_server, numbered_message, running, wait_until
from tiny_bundle import QUALITY, STRAIN

from usert.errors import OptionError
from usert.runtime.bridges.igtl_bridge import BridgeConfig, IgtlBridge
from usert.runtime.bridges.igtl_devices import BLANK_PERCENT
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.server.server import StrainServer


def bridged(strain: str, **changes: Any) -> IgtlBridge:
    return IgtlBridge(BridgeConfig(strain=strain, port=0, **changes))


def wait_for_client(bridge: IgtlBridge) -> None:
    wait_until(lambda: bridge.broadcaster.served == 1)


def strain_of(slicer: Any, sequence: int) -> Any:
    """The strain of this frame: it came before the status that tells of it."""
    wait_until(lambda: told_by(slicer).get("sequence") == sequence)
    return heard(slicer, "usert_strain")


def test_values_spacing_and_times_of_one_image(feed: Feed, server: StrainServer) -> None:
    with (
        running(bridged(server.publish_endpoint)) as bridge,
        pyigtl_client(bridge.broadcaster.port) as slicer,
    ):
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
        pyigtl_client(bridge.broadcaster.port) as slicer,
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
    with (
        running(bridged(server.publish_endpoint)) as bridge,
        pyigtl_client(bridge.broadcaster.port) as slicer,
    ):
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
                pyigtl_client(bridge.broadcaster.port) as slicer,
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
    bridge = IgtlBridge(BridgeConfig(strain=endpoint, port=0), report=lines.append)
    with running(bridge), pyigtl_client(bridge.broadcaster.port) as slicer:
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
    with pytest.raises(OptionError, match="--insecure"):
        bridged("tcp://10.0.0.1:5556")
    with pytest.raises(OptionError, match="--insecure"):
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
        port = str(first.broadcaster.port)
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
