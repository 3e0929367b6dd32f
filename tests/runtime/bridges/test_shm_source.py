"""Frames from a file in memory: whole ones alone, whoever writes, stops or is killed on the way."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from framed import MAGIC, SLOT_BYTES, SlotWriter, framed, framed_parts
from live import SCAN, TIMEOUT_S, numbered_frame, numbered_message, running, wait_until
from rf_subscriber import subscriber
from server_process import UsertProcess

from usert.frame import RFFrame
from usert.runtime.bridges import shm_file
from usert.runtime.bridges.shm_source import ShmConfig, ShmSource
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.transport import fault_counter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rf"


@contextmanager
def bridge(path: Path, lines: list[str] | None = None) -> Iterator[ShmSource]:
    config = ShmConfig(path=path, publish="tcp://127.0.0.1:0")
    lines = [] if lines is None else lines
    with running(ShmSource(config, lines.append)) as source:
        wait_until(lambda: bool(lines))  # it has looked for the file
        yield source


def passed(source: ShmSource) -> int:
    return source.relay.sender.sent + source.relay.sender.dropped


def write(writer: SlotWriter, source: ShmSource, number: int = 1) -> None:
    """A frame that is sent on."""
    before = passed(source)
    writer.write(framed(numbered_message(number)))
    wait_until(lambda: passed(source) == before + 1)


def test_frames_come_out_as_they_went_in(path: Path) -> None:
    lines: list[str] = []
    with bridge(path, lines) as source, subscriber(source.relay.sender.endpoint) as receive:
        assert source.relay.sender.wait_for_receiver(TIMEOUT_S)
        writer = SlotWriter(path)
        for number in range(5):
            message = numbered_message(number)
            writer.write(framed(message))
            got = receive()
            np.testing.assert_array_equal(got.frame.samples, message.frame.samples)
            assert (got.frame.sequence, got.frame.scan, got.stream) == (number, SCAN, "test")
        assert source.relay.faults.counts == {}
        wait_until(lambda: lines[-1] == f"reading {path}")
    assert lines[0] == f"waiting for {path}: No such file or directory"


def test_what_was_there_before_is_not_live(path: Path) -> None:
    writer = SlotWriter(path)
    for number in (1, 2, 3):
        writer.write(framed(numbered_message(number)))
    with bridge(path) as source:
        write(writer, source)
        assert passed(source) == 1


def test_a_writer_that_starts_again(path: Path) -> None:
    """In the file that is there, and in a new one of the same name, with frames of another size."""
    with bridge(path) as source:
        for count in range(3):
            writer = SlotWriter(path, SLOT_BYTES + 100 * count, counter=1000 * count)
            for number in range(3):
                write(writer, source, number)
        path.unlink()
        writer = SlotWriter(path)
        write(writer, source)
        assert source.relay.faults.counts == {}


def test_a_frame_that_was_not_ended_is_not_passed_on_and_the_next_one_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shm_file, "_HALF_S", 0.1)
    with bridge(path) as source:
        writer = SlotWriter(path)
        write(writer, source)
        writer.begin()
        wait_until(lambda: source.relay.faults.counts == {"half": 1})
        write(writer, source)  # in the other slot
        assert source.relay.faults.counts == {"half": 1}
        write(writer, source)  # over the half one
        assert passed(source) == 3


def test_each_frame_that_a_writer_goes_on_from_without_ending_it_is_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shm_file, "_HALF_S", float("inf"))
    with bridge(path) as source:
        writer = SlotWriter(path)
        wait_until(lambda: writer.begin() > 0 and source.relay.faults.counts.get("half", 0) >= 3)
        assert source.relay.faults.total <= writer.counter
        assert passed(source) == 0
        write(writer, source)


def uniform(number: int, shape: tuple[int, int]) -> bytes:
    """A frame of one value, so that one of two frames shows."""
    samples = np.full(shape, number % 30000, np.int16)
    return framed(RFMessage(frame=RFFrame(samples=samples, scan=SCAN, sequence=number), stream="test"))


def write_for_ever(path: Path, shape: tuple[int, int]) -> None:
    raw = uniform(0, shape)
    writer = SlotWriter(path, len(raw) + 100)
    for number in range(1, 1 << 30):
        writer.write(uniform(number, shape))


def test_a_writer_faster_than_the_reader_and_killed_again_and_again_never_shows_a_torn_frame(
    path: Path,
) -> None:
    context = multiprocessing.get_context("spawn")
    shape = (1024, 256)
    with bridge(path) as source, subscriber(source.relay.sender.endpoint) as receive:
        assert source.relay.sender.wait_for_receiver(TIMEOUT_S)
        whole = 0
        for _ in range(3):
            process = context.Process(target=write_for_ever, args=(path, shape), daemon=True)
            process.start()
            try:
                for _ in range(20):
                    frame = receive().frame
                    assert np.all(frame.samples == frame.sequence % 30000)
                    whole += 1
            finally:
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()
        assert whole == 60
        writer = SlotWriter(path)
        before = passed(source)
        writer.write(framed(numbered_message()))
        wait_until(lambda: passed(source) > before)
        assert source.relay.faults.counts.keys() <= {"torn", "half"}


def test_a_frame_that_changes_while_it_is_read_is_torn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SlotWriter(path)
    torn = threading.Event()
    preadv = os.preadv

    def slow(file: int, buffers: Any, at: int) -> int:
        count = preadv(file, buffers, at)
        if not torn.is_set():
            torn.set()
            writer.counter += 1
            writer.begin()  # over this one
        return count

    with bridge(path) as source:
        monkeypatch.setattr(os, "preadv", slow)
        writer.write(framed(numbered_message()))
        wait_until(lambda: source.relay.faults.counts.get("torn") == 1)
        assert passed(source) == 0
        writer.end()
        wait_until(lambda: passed(source) == 1)


def test_counters_that_cannot_be_read_cost_one_look(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()
    pread = os.pread

    def fails_once(file: int, count: int, at: int) -> bytes:
        if at in (16, 32) and not failed.is_set():
            failed.set()
            raise OSError(errno.EIO, "Input/output error")
        return pread(file, count, at)

    with bridge(path) as source:
        monkeypatch.setattr(os, "pread", fails_once)
        write(SlotWriter(path), source)
        assert source.relay.faults.counts == {"torn": 1}


def test_repeats_of_a_fault_are_logged_without_another(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fault_counter, "PERIOD_S", 0.5)
    with bridge(path) as source:
        writer = SlotWriter(path)
        for count in range(1, 3):
            writer.write(framed_parts(b"{", b""))
            wait_until(lambda count=count: source.relay.faults.total == count)  # type: ignore[misc]
        wait_until(lambda: "(header): 1 more in the last" in caplog.text)


def test_lies_are_counted_and_the_next_frame_is_taken(path: Path) -> None:
    header, samples = (bytes(part) for part in numbered_message().to_parts())
    lies = {
        "framing": [b"GET / HTTP", b"USRF" + b"\xff" * 8, framed_parts(b"", b"")[:8] + b"\xff\xff\0\0"],
        "header": [framed_parts(b"{", samples)],
        "size": [framed_parts(header, samples[:-2])],
    }
    with bridge(path) as source:
        writer = SlotWriter(path)
        for kind, found in lies.items():
            for number, raw in enumerate(found, start=1):
                writer.write(raw)
                wait_until(lambda kind=kind, number=number: source.relay.faults.counts.get(kind) == number)  # type: ignore[misc]
        write(writer, source)


@pytest.mark.parametrize("slot_bytes", [0, 8, 1 << 40, (1 << 64) - 1])
def test_a_head_that_lies_about_its_slots(path: Path, slot_bytes: int) -> None:
    with bridge(path) as source:
        path.write_bytes(MAGIC + struct.pack("<5Q", slot_bytes, 0, 0, 1, 1) + bytes(1000))
        wait_until(lambda: source.relay.faults.counts == {"framing": 1})
        write(SlotWriter(path, counter=6), source)


def test_a_file_that_is_cut_off_ends_nothing(path: Path) -> None:
    lines: list[str] = []
    with bridge(path, lines) as source:
        write(SlotWriter(path), source)
        os.truncate(path, 200)
        with path.open("r+b") as file:
            file.seek(32)
            file.write(struct.pack("<QQ", 9, 9))
        wait_until(lambda: source.relay.faults.counts == {"framing": 1})
        os.truncate(path, 3)
        wait_until(lambda: "not a file of frames" in lines[-1])
        write(SlotWriter(path), source)


def test_what_is_no_file_is_waited_for(path: Path) -> None:
    lines: list[str] = []
    os.mkfifo(path)
    with bridge(path, lines) as source:
        assert lines == [f"waiting for {path}: not a regular file"]
        path.unlink()
        path.mkdir()
        path.rmdir()
        write(SlotWriter(path), source)


def test_the_command_says_what_it_reads_and_what_it_did(path: Path) -> None:
    with UsertProcess("bridge", "shm", path, "--publish", "tcp://127.0.0.1:0") as process:
        process.wait_for(r"rf on (tcp://\S+) \(pub\), from .*rf; Ctrl-C ends")
        process.wait_for(r"(waiting) for .*rf: No such file or directory")
        samples = numbered_frame().samples
        SlotWriter(path).write(framed(numbered_message(samples=samples)))
        process.wait_for(r"frames of stream ('test'): 24 samples by 8 lines, fs 40 MHz, line pitch 0.3 mm")
        process.signal()
        code, out, errors = process.rest()
    assert (code, errors) == (0, "")
    assert out.rstrip().endswith("frames sent 0, dropped 1; malformed 0")
