"""The status line."""

from __future__ import annotations

import io
import socketserver
import subprocess
import sys
from dataclasses import replace

import pytest
import zmq
from live import TIMEOUT_S, numbered_message, wait_until
from publishing import Publisher, image
from rich.console import Console

from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.clients.terminal import StatusLine, watch
from usert.runtime.imaging.strain_ratio import RatioReading
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.protocol.strain_message import Counters


def test_the_line_says_rate_age_strain_quality_and_drops(publisher: Publisher) -> None:
    lines: list[str] = []
    counters = Counters(received=9, dropped=4, malformed=2, published=1)
    with StrainClient(publisher.endpoint) as client:
        publisher.wait()
        publisher.send(replace(image(), mean_strain=0.0123, mean_quality=0.875, counters=counters))
        readings = watch(client, lines.append, count=1)
    assert readings.count == 1
    assert lines[-1].startswith("live ")
    for expected in ("images/s", "age ", "strain +1.23 %", "quality 0.88", "dropped 4", "malformed 2"):
        assert expected in lines[-1]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (RatioReading(refused="", ratio=0.45, spread=0.031, frames=3), "ratio 0.45 ± 0.03"),
        (RatioReading(refused="unreadable"), "ratio none (unreadable)"),
    ],
)
def test_the_line_says_why_and_never_a_bare_ratio(
    publisher: Publisher,
    ratio: RatioReading,
    expected: str,
) -> None:
    lines: list[str] = []
    shown = replace(image(), state="held", reason="frozen", warnings=("strain_low",), ratio=ratio)
    with StrainClient(publisher.endpoint) as client:
        publisher.wait()
        publisher.send(shown)
        watch(client, lines.append, count=1)
    assert f"frozen  strain_low  {expected}" in lines[-1]


def test_silence_is_stale_and_ends_in_time(publisher: Publisher) -> None:
    lines: list[str] = []
    with StrainClient(publisher.endpoint, stale_ms=20) as client:
        assert watch(client, lines.append, seconds=0.05).count == 0
        assert set(lines) == {"stale   no image yet"}
        publisher.wait()
        publisher.send(image())
        watch(client, lines.append, count=1)
        watch(client, lines.append, seconds=0.3)
    assert any(line.startswith("live") for line in lines)
    assert client.image_state == "stale"


def obstacle(endpoint: str, expected: str) -> None:
    """What a client says of `endpoint`, and the line of `watch`."""
    lines: list[str] = []
    with StrainClient(endpoint) as client:
        wait_until(lambda: client.obstacle.startswith(f"{endpoint}: {expected}"))
        watch(client, lines.append, seconds=1.2)
    assert lines[-1].startswith(f"stale   no image yet in 1 s from {endpoint}: {expected}")


def test_what_listens_instead_of_a_server_is_told(publisher: Publisher) -> None:
    """Nothing yet, a control endpoint, what is no ZeroMQ, and nobody."""
    obstacle(publisher.endpoint, "connected, and nothing was sent yet")
    with zmq.Context() as context, context.socket(zmq.ROUTER) as control:
        control.bind("tcp://127.0.0.1:0")
        obstacle(
            control.get_string(zmq.LAST_ENDPOINT), "what listens there hangs up: it is an endpoint of an"
        )
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as other:
        endpoint = f"tcp://127.0.0.1:{other.server_address[1]}"
        obstacle(endpoint, "what listens there does not answer as ZeroMQ does")
    obstacle(endpoint, "nobody listens there")


def test_messages_of_another_kind_are_told() -> None:
    def send(message: RFMessage) -> None:
        frames.send_multipart(message.to_parts())

    with zmq.Context() as context, context.socket(zmq.PUB) as frames:
        frames.bind("tcp://127.0.0.1:0")
        with StrainClient(frames.get_string(zmq.LAST_ENDPOINT)) as client:
            wait_until(lambda: send(numbered_message(0)) or client.malformed != {})
            assert client.obstacle.endswith("malformed: message kind: got 'rf', expected 'strain'")


def test_a_pipe_gets_few_lines_a_terminal_one_that_changes() -> None:
    plain, terminal = io.StringIO(), io.StringIO()
    with StatusLine(Console(file=plain, force_terminal=False)) as line:
        for k in range(100):
            line.show(f"line {k}")
    assert plain.getvalue() == "line 0\n"
    with StatusLine(Console(file=terminal, force_terminal=True, force_interactive=True)) as line:
        line.show("seen")
        line.show("too soon after")
    assert "seen" in terminal.getvalue()
    assert "soon" not in terminal.getvalue()


def test_usert_watch_ends_by_count_with_a_summary() -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.linger = 0
        socket.bind("tcp://127.0.0.1:0")
        source = Publisher(socket)
        command = [sys.executable, "-m", "usert", "watch", "--strain", source.endpoint, "--count", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                source.wait()
                source.send(image())
                output, errors = process.communicate(timeout=TIMEOUT_S)
            finally:
                process.kill()
    assert (process.returncode, errors) == (0, "")
    assert output.splitlines()[-1].startswith("watch: 1 image, age p50 ")
    assert output.splitlines()[-1].endswith("skipped 0")
