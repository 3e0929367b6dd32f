"""How `usert serve` begins and ends: start order, SIGTERM in full stream, exit codes, by real processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq
from live import TIMEOUT_S, wait_until
from server_process import ServerProcess, ended, sender

from usert.bundle import Bundle
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.record.contents import Record

ANY = "tcp://127.0.0.1:0"


def options(bundle: Bundle) -> list[str]:
    return ["--bundle", str(bundle.folder), "--engine", "onnxruntime", "--threads", "1", "--lag", "1"]


def number(name: str, text: str) -> int:
    """The count before or after `name` in a summary."""
    match = re.search(rf"(\d+) {name}|{name} (\d+)", text)
    assert match is not None, text
    return int(match[1] or match[2])


def test_sigterm_in_full_stream_ends_with_balanced_books_and_a_whole_record(
    tmp_path: Path, bundle: Bundle
) -> None:
    path = tmp_path / "r.h5"
    command = ["--rf", ANY, "--rf-type", "pull", "--rf-bind", "--publish", ANY, "--record", str(path)]
    with ServerProcess(*command, *options(bundle)) as server, zmq.Context() as context, ExitStack() as stack:
        push = stack.enter_context(context.socket(zmq.PUSH))
        push.linger = 0
        push.connect(server.wait_for(r"rf on (\S+)"))
        client = stack.enter_context(StrainClient(server.wait_for(r"strain on (\S+)")))
        send, seen = sender(push), 0
        told = False

        def over() -> bool:
            nonlocal seen, told
            send()
            if (image := client.receive(0)) is not None:
                seen = image.counters.published
            if seen >= 20 and not told:
                server.signal()
                told = True
            return not server.alive

        wait_until(over)
        code, out, errors = server.rest()
        while (image := client.receive(0)) is not None:
            seen = image.counters.published
    assert (code, "Traceback" in errors) == (0, False)
    summary, recorded = out.splitlines()[-2:]
    received, images = number("frames received", summary), number("images", summary)
    used = images + sum(number(name, summary) for name in ("dropped", "unpaired", "failed"))
    assert received - used in (0, 1)  # one may wait at the end
    assert 20 <= seen <= images
    assert (number("frames and", recorded), number("images in", recorded)) == (received, images)
    with Record(path) as record:
        assert record.frames["sequence"].tolist() == list(range(received))
        assert record.images["published"].tolist() == list(range(1, images + 1))
        assert len(record.gaps) == 0


@pytest.mark.parametrize("first", ["source", "server"])
def test_source_and_server_start_in_any_order(first: str, tmp_path: Path, bundle: Bundle) -> None:
    rf, publish = f"ipc://{tmp_path / 'rf'}", f"ipc://{tmp_path / 'strain'}"
    with (
        zmq.Context() as context,
        context.socket(zmq.PUB) as source,
        StrainClient(publish) as client,
        ServerProcess("--rf", rf, "--publish", publish, *options(bundle)) as server,
    ):
        source.linger = 0
        if first == "source":
            source.bind(rf)
        server.wait_for("(Ctrl-C) ends")
        if first == "server":
            source.bind(rf)
        send = sender(source)

        def seen() -> bool:
            send()
            return client.receive(0.002) is not None

        wait_until(seen)
        server.signal()
        code, _, _ = server.rest()
    assert code == 0


def test_a_fault_that_a_person_must_mend_is_exit_code_1_and_usage_2(bundle: Bundle) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        taken.bind(ANY)
        in_use = taken.get_string(zmq.LAST_ENDPOINT)
        code, _, errors = ended("--rf", ANY, "--publish", in_use, *options(bundle))
    assert (code, errors.count("\n")) == (1, 1)
    assert "Address already in use" in errors
    code, out, errors = ended("--rf", ANY)
    assert (code, out) == (2, "")
    assert "--publish" in errors


MAIN = """
import signal
import threading
from usert.cli import app, main

@app.command()
def fall():
    raise RuntimeError("fell\\nover")

@app.command()
def wait():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print("waits", flush=True)
    threading.Event().wait()

main()
"""


def test_what_nobody_foresaw_is_a_traceback_a_line_and_exit_code_70() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "fall"], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 70
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.splitlines()[-1] == (
        "usert: this is a bug: RuntimeError: fell over; please report it with the lines above"
    )


def test_ctrl_c_where_nothing_listens_to_it_is_exit_code_130() -> None:
    """Also where the tests run in the background, whose children a shell makes deaf to it."""
    with subprocess.Popen([sys.executable, "-c", MAIN, "wait"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_S) == 130
        finally:
            process.kill()
