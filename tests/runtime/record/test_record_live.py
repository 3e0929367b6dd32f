"""A server that records: what clients saw is on record, and is made again bit for bit; also after `kill -9`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import zmq
from live import (
    TIMEOUT_S,
    Feed,
    Source,
    books_balance,
    numbered_frame,
    numbered_message,
    running,
    wait_until,
)

from usert.bundle import Bundle
from usert.errors import RecordingError
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.record.contents import Provenance, Record
from usert.runtime.record.recorder import Recorder
from usert.runtime.record.rerun import rerun
from usert.runtime.record.switch import RecordSwitch
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer


def test_what_clients_saw_is_on_record(
    tmp_path: Path, bundle: Bundle, engine: Engine, source: Source
) -> None:
    config = ServerConfig(rf=source.endpoint, rf_type="pull", publish="tcp://127.0.0.1:0")
    seen: list[StrainMessage] = []
    with Recorder(tmp_path / "r.h5", Provenance.of(bundle), displacement=True) as recorder:
        with (
            running(StrainServer(engine=engine, config=config, switch=RecordSwitch(recorder))) as server,
            StrainClient(server.publish_endpoint) as client,
        ):
            feed = Feed(source, client)
            feed.prime()
            for _ in range(5):
                feed.next()
                seen.append(feed.image())
            wait_until(lambda: server.counts.frames.received == source.frames and books_balance(server))
            counts = server.counts
        assert recorder.stats.frames.received == counts.frames.received
        assert recorder.stats.images.received == counts.published
    with Record(tmp_path / "r.h5") as record:
        assert len(record.frames) == counts.frames.received
        assert len(record.images) == counts.published
        made = record.images["current"].tolist()
        for k, message in enumerate(seen, start=len(made) - len(seen)):
            row = record.images[k]
            assert row["published"] == message.counters.published
            assert (row["state"].decode(), row["shown"]) == (message.state, message.current.sequence)
            shown = made.index(message.current.sequence)
            assert record.images[shown]["reference"] == message.reference.sequence
            for name in ("strain", "quality", "displacement"):
                assert record.array(name, shown).tobytes() == getattr(message, name).tobytes()
        report = rerun(record, engine)
        assert report.identical == report.compared == counts.published


def test_a_killed_server_leaves_a_record_to_run_again(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "r.h5"
    command = [
        sys.executable,
        "-m",
        "usert",
        "serve",
        "--rf",
        "tcp://127.0.0.1:0",
        "--rf-type",
        "pull",
        "--rf-bind",
    ]
    command += ["--publish", "tcp://127.0.0.1:0", "--bundle", str(bundle.folder), "--engine", "onnxruntime"]
    process = subprocess.Popen(
        [*command, "--threads", "1", "--record", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        with process.stdout, zmq.Context() as context, context.socket(zmq.PUSH) as push:
            endpoint = next(line.split()[3] for line in process.stdout if "rf on" in line)
            push.linger = 0
            push.connect(endpoint)
            sent = 0

            def images() -> int:
                nonlocal sent
                push.send_multipart(numbered_message(sent, time_ns=sent).to_parts())
                sent += 1
                try:
                    with Record(path) as record:
                        return len(record.images)
                except RecordingError:  # not there yet, or being made
                    return 0

            wait_until(lambda: images() >= 20, TIMEOUT_S)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    with Record(path) as record:
        held = record.frames["sequence"].tolist()
        assert held == list(range(len(held)))
        assert sent - 10 <= len(held) <= sent
        assert record.images["published"].tolist() == list(range(1, len(record.images) + 1))
        frame = record.frame(held[-1])
        assert frame is not None
        np.testing.assert_array_equal(frame.samples, numbered_frame(held[-1]).samples)
    done = subprocess.run(
        [sys.executable, "-m", "usert", "rerun", str(path), "--bundle", str(bundle.folder)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "identical, bit for bit" in done.stdout
