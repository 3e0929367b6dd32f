"""Endpoints, life cycle and command of the live server."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from live import (
    TIMEOUT_S,
    Source,
    make_server,
    numbered_message,
    running,
    wait_until,
)

from usert.bundle import Bundle
from usert.errors import OptionError
from usert.runtime.engines.interface import Engine
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer


@pytest.mark.parametrize(
    "endpoint", ["tcp://*:5555", "tcp://0.0.0.0:0", "tcp://192.168.1.2:5555", "tcp://[::]:1"]
)
def test_beyond_loopback_is_refused_unless_said_in_so_many_words(endpoint: str) -> None:
    for fields in (
        {"rf": "ipc:///tmp/rf", "publish": endpoint},
        {"rf": endpoint, "publish": "tcp://[::1]:0"},
    ):
        with pytest.raises(OptionError, match="--insecure"):
            ServerConfig(**fields)
        assert ServerConfig(insecure=True, **fields).insecure


@pytest.mark.parametrize(
    "endpoint", ["", "5555", "tcp://127.0.0.1", "udp://127.0.0.1:1", "tcp://127.0.0.1:1;x:2"]
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(OptionError, match="expected tcp://HOST:PORT"):
        ServerConfig(rf=endpoint, publish="tcp://127.0.0.1:0")


def test_an_endpoint_in_use_is_one_clear_line_and_nothing_leaks(
    engine: Engine, source: Source, server: StrainServer
) -> None:
    for fields in ({"publish": server.publish_endpoint}, {"rf": server.publish_endpoint, "rf_bind": True}):
        with (
            pytest.raises(OptionError, match=r"cannot bind: .* in use"),
            make_server(engine, source, **fields),
        ):
            pass


def test_a_server_opens_once_and_runs_only_while_open(engine: Engine, source: Source) -> None:
    server = make_server(engine, source)
    with pytest.raises(ValueError, match="is new"):
        server.run()
    with server:
        server.stop()
        server.stop()
        server.run()
    assert server.state == "closed"
    with pytest.raises(ValueError, match="is closed"):
        server.run()
    with pytest.raises(ValueError, match="opens once"), server:
        pass
    assert server.counts.frames.received == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_usert_serve_with_a_summary(bundle: Bundle, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "usert", "serve", "--rf", "tcp://127.0.0.1:0", "--rf-bind"]
    command += ["--publish", "tcp://127.0.0.1:0", "--bundle", str(bundle.folder), "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            process.send_signal(number)
            rest, errors = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert "rf on tcp://127.0.0.1:" in lines[0]
    assert "strain on tcp://127.0.0.1:" in lines[1]
    assert rest.startswith("serve: 0 frames received, 0 images")
    assert (process.returncode, errors) == (0, "")


def test_usert_serve_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "usert", "serve", "--rf", "tcp://127.0.0.1:1", "--publish"]
    for endpoint, bundle, expected in (
        ("tcp://0.0.0.0:0", tmp_path, "--insecure"),
        ("tcp://127.0.0.1:0", tmp_path / "none", "no such folder"),
    ):
        done = subprocess.run(
            [*command, endpoint, "--bundle", str(bundle)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 1
        assert expected in done.stderr
        assert done.stderr.startswith("usert: ")
        assert len(done.stderr.splitlines()) == 1


def test_the_server_may_bind_for_publishers(engine: Engine) -> None:
    config = ServerConfig(rf="tcp://127.0.0.1:0", rf_bind=True, publish="tcp://127.0.0.1:0")
    with (
        running(StrainServer(engine=engine, config=config)) as server,
        zmq.Context() as context,
        context.socket(zmq.XPUB) as publisher,
    ):
        assert not server.rf_endpoints[0].endswith(":0")
        assert not server.publish_endpoint.endswith(":0")
        publisher.linger = 0
        publisher.connect(server.rf_endpoints[0])
        assert publisher.poll(round(1e3 * TIMEOUT_S))
        assert publisher.recv() == b"\1"
        publisher.send_multipart(numbered_message(0).to_parts())
        wait_until(lambda: server.counts.frames.received == 1)


def test_options_that_cannot_be_or_contradict_each_other_are_refused(bundle: Bundle) -> None:
    endpoints = ["--rf", "tcp://127.0.0.1:1", "--publish", "tcp://127.0.0.1:0"]
    folder = str(bundle.folder)
    for options, expected in (
        (["--lag", "slow"], "--lag: got 'slow', expected auto or a number of frames"),
        (
            ["--follow", "--bundle", folder],
            f"--follow: got bundle {folder} without graphs that follow, expected one of `usert export --follow`",
        ),
        (["--at-once", "9"], "--at-once: got 9, expected 1 to 8"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "usert", "serve", *endpoints, *options],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, f"usert: {expected}\n")
