"""Frames over plain TCP: what comes out is what went in, and what bad senders cost."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from framed import framed, framed_parts
from live import SCAN, TIMEOUT_S, numbered_frame, numbered_message, running, wait_until
from rf_subscriber import subscriber
from server_process import UsertProcess

from usert.runtime.bridges import tcp_source
from usert.runtime.bridges.framing import write_prefix
from usert.runtime.bridges.tcp_source import MOST_SENDERS, TcpConfig, TcpSource
from usert.runtime.protocol.header import MAX_PIXELS
from usert.runtime.protocol.rf_message import MAX_RF_BYTES, RFMessage
from usert.runtime.transport import fault_counter

IQ = replace(SCAN, fs_hz=10e6, demodulation_hz=6.5e6)


@contextmanager
def bridge(lines: list[str] | None = None) -> Iterator[TcpSource]:
    config = TcpConfig(publish="tcp://127.0.0.1:0", port=0)
    with running(TcpSource(config, (lines if lines is not None else []).append)) as source:
        yield source


def connect(source: TcpSource) -> socket.socket:
    host, port = source.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=TIMEOUT_S)


def passed(source: TcpSource) -> int:
    return source.relay.sender.sent + source.relay.sender.dropped


def closed(connection: socket.socket) -> bool:
    """Whether the bridge has closed it; waits for that."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def goes_on(source: TcpSource) -> None:
    """A new sender's frame is sent on."""
    before = passed(source)
    with connect(source) as connection:
        connection.sendall(framed(numbered_message()))
        wait_until(lambda: passed(source) == before + 1)


def test_the_bytes_of_a_prefix() -> None:
    assert write_prefix(2, 3) == b"USRF\2\0\0\0\3\0\0\0"


def test_frames_come_out_as_they_went_in() -> None:
    quadrature = np.stack([numbered_frame(k).samples for k in (7, 8)], axis=-1)
    sent = [
        numbered_message(3, stream="one", time_ns=5, acquired_ns=6, clock="their clock"),
        numbered_message(4, stream="two", samples=numbered_frame(4).samples.astype(np.float32)),
        numbered_message(9, stream="one", samples=quadrature, scan=IQ),
        numbered_message(10, stream="one", samples=quadrature.astype(np.float32), scan=IQ),
    ]
    with bridge(lines := []) as source, subscriber(source.relay.sender.endpoint) as receive:
        assert source.relay.sender.wait_for_receiver(TIMEOUT_S)
        with connect(source) as connection:
            for message in sent:
                connection.sendall(framed(message))
                got = receive()
                np.testing.assert_array_equal(got.frame.samples, message.frame.samples)
                assert got.frame.samples.dtype == message.frame.samples.dtype
                assert (got.frame.scan, got.frame.sequence) == (message.frame.scan, message.frame.sequence)
                assert got.stream == message.stream
                if message.frame.time_ns:
                    assert (got.frame.time_ns, got.frame.acquired_ns, got.clock) == (5, 6, "their clock")
    assert source.relay.faults.counts == {}
    assert "frames of stream 'one': 24 samples by 8 lines, fs 40 MHz, line pitch 0.3 mm" in lines


def test_a_message_in_pieces_is_one_and_several_in_one_piece_are_several() -> None:
    raw = framed(numbered_message(1))
    with bridge() as source, connect(source) as connection:
        for at in range(0, len(raw), 37):
            connection.sendall(raw[at : at + 37])
            time.sleep(1e-4)
        wait_until(lambda: passed(source) == 1)
        connection.sendall(3 * raw)
        wait_until(lambda: passed(source) == 4)


def changed(old: bytes, new: bytes) -> bytes:
    """A message whose header differs, with the sizes right."""
    header, samples = (bytes(part) for part in numbered_message().to_parts())
    assert old in header
    return framed_parts(header.replace(old, new), samples)


def test_messages_that_break_the_protocol_are_counted_and_the_connection_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raw = framed(numbered_message())
    header, samples = (bytes(part) for part in numbered_message().to_parts())
    bad = {
        "header": framed_parts(b"{", samples),
        "version": changed(b'"usert":1', b'"usert":9'),
        "kind": changed(b'"kind":"rf"', b'"kind":"xx"'),
        "field": changed(b'"int16"', b'"int64"'),
        "geometry": changed(b'"fs_hz":40000000.0', b'"fs_hz":40.0'),
        "size": framed_parts(header, samples[:-2]),
    }
    with bridge() as source, connect(source) as connection:
        connection.sendall(b"".join(2 * list(bad.values())) + framed_parts(b"", b"") + raw)
        wait_until(lambda: passed(source) == 1)
        assert source.relay.faults.counts == dict.fromkeys(bad, 2) | {"header": 3}
        assert source.served == 1
    assert len(caplog.records) == len(bad) + 1  # one line for each distinct fault
    assert "malformed message (geometry): header: fs_hz" in caplog.text


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "got b'GET '"),
        (b"USRF" + b"\xff" * 8, "expected at most 16384 bytes of header"),
        (write_prefix(16385, 0), "got sizes 16385 and 0"),
        (write_prefix(0, MAX_RF_BYTES + 1), f"and {MAX_RF_BYTES} of samples"),
    ],
)
def test_what_is_no_message_ends_its_connection(
    raw: bytes, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with bridge() as source:
        with connect(source) as good:
            for _ in range(2):
                with connect(source) as connection:
                    connection.sendall(raw)
                    assert closed(connection)
            good.sendall(framed(numbered_message()))
            wait_until(lambda: passed(source) == 1)
        goes_on(source)
        assert source.relay.faults.counts == {"framing": 2}
    assert caplog.text.count(told) == 1


def test_a_sender_that_is_gone_in_the_middle_is_counted_and_one_between_messages_is_not() -> None:
    raw = framed(numbered_message())
    with bridge() as source:
        for part in (raw, raw[:5], raw[:50], raw[:-1]):
            with connect(source) as connection:
                connection.sendall(part)
        wait_until(lambda: source.relay.faults.counts == {"half": 3})
        with connect(source) as connection:
            connection.sendall(raw[:100])
            wait_until(lambda: source.served == 5)
            # an end by a reset, as that of a killed process with data unread
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wait_until(lambda: source.relay.faults.counts == {"half": 4})
        goes_on(source)


def test_a_sender_that_stalls_in_a_message_is_closed_and_one_that_is_silent_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tcp_source, "MESSAGE_S", 0.3)
    raw = framed(numbered_message())
    with bridge() as source, connect(source) as silent, connect(source) as stalled:
        stalled.sendall(raw[:100])
        silent.sendall(raw)
        assert closed(stalled)
        silent.sendall(raw)
        wait_until(lambda: passed(source) == 2)
        assert source.relay.faults.counts == {"half": 1}
    assert "message: got 100 bytes, expected " in caplog.text


def test_a_lie_about_size_costs_address_space_and_no_memory() -> None:
    """Sizes within the limits are believed, but memory that nothing is written to is none."""

    def resident_mb() -> float:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096 / 1e6

    with bridge() as source:
        goes_on(source)
        before = resident_mb()
        liars = [connect(source) for _ in range(MOST_SENDERS)]
        for liar in liars:
            liar.sendall(write_prefix(2, MAX_RF_BYTES) + b"{}" + bytes(1000))
        wait_until(lambda: len([s for s in source._senders if s.begun]) == MOST_SENDERS)
        assert resident_mb() - before < 20
        for liar in liars:
            liar.close()
        goes_on(source)


def test_of_too_many_senders_the_longest_silent_one_is_closed() -> None:
    raw = framed(numbered_message())
    with bridge() as source:
        senders = [connect(source)]
        for count in range(2, MOST_SENDERS + 1):
            senders.append(connect(source))
            wait_until(lambda count=count: source.served == count)  # type: ignore[misc]
        senders[0].sendall(raw)  # it is not silent
        wait_until(lambda: passed(source) == 1)
        senders.append(connect(source))
        assert closed(senders[1])
        for k, sender in enumerate((senders[0], *senders[2:])):
            sender.sendall(raw)
            wait_until(lambda k=k: passed(source) == k + 2)  # type: ignore[misc]
        for sender in senders:
            sender.close()


def test_a_sender_that_is_replaced_in_the_middle_is_counted() -> None:
    with bridge() as source:
        senders = [connect(source)]
        senders[0].sendall(framed(numbered_message())[:100])
        wait_until(lambda: any(sender.begun for sender in source._senders))
        for count in range(2, MOST_SENDERS + 1):
            senders.append(connect(source))
            wait_until(lambda count=count: source.served == count)  # type: ignore[misc]
        for k in range(2):
            senders.append(connect(source))
            assert closed(senders[k])
        assert source.relay.faults.counts == {"half": 1}
        for sender in senders:
            sender.close()


def test_repeats_of_a_fault_are_logged_without_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fault_counter, "PERIOD_S", 0.5)
    with bridge() as source, connect(source) as connection:
        connection.sendall(3 * framed_parts(b"{", b""))
        wait_until(lambda: "(header): 2 more in the last" in caplog.text)


def test_the_largest_frame_passes() -> None:
    samples = np.zeros((4096, 4096), np.float32)
    assert samples.size == MAX_PIXELS
    samples[-1, -1] = 5
    message = RFMessage(frame=numbered_frame(samples=samples), stream="large")
    with bridge() as source, subscriber(source.relay.sender.endpoint) as receive, connect(source) as sender:
        assert source.relay.sender.wait_for_receiver(TIMEOUT_S)
        sender.sendall(framed(message))
        assert receive().frame.samples[-1, -1] == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--host", "0.0.0.0"),
            "this TCP is not encrypted: use 127.0.0.1 and an SSH tunnel, or give --insecure",
        ),
        (("--port", "70000"), "--port"),
        (("--publish", "tcp://0.0.0.0:5555"), "--insecure"),
        (("--publish", "5555"), "expected tcp://HOST:PORT"),
        (("--key", "absent"), "expected --key and --allow"),
    ],
)
def test_what_is_wrong_is_one_line(words: tuple[str, ...], message: str) -> None:
    defaults = {"--port": "0", "--publish": "tcp://127.0.0.1:0"}
    given = defaults | dict(zip(words[::2], words[1::2], strict=True))
    with UsertProcess("bridge", "tcp", *(word for pair in given.items() for word in pair)) as process:
        code, _, errors = process.rest()
    assert (code, errors.count("\n")) == (1, 1)
    assert message in errors


def test_the_command_says_where_it_is_and_what_it_did() -> None:
    with UsertProcess("bridge", "tcp", "--port", "0", "--publish", "tcp://127.0.0.1:0") as process:
        host, port = process.wait_for(r"rf on tcp://\S+ \(pub\), from TCP on (\S+); Ctrl-C ends").split(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
            connection.sendall(framed(numbered_message()) + b"garbage that is no message")
            assert closed(connection)
        process.signal()
        code, out, errors = process.rest()
    assert code == 0
    end = "senders 1, frames sent 0, dropped 1; malformed 1 (framing 1)"
    assert out.rstrip().endswith(end)
    assert errors.count("\n") == 1


def test_other_machines_with_so_many_words() -> None:
    config = TcpConfig(publish="tcp://127.0.0.1:0", host="0.0.0.0", port=0, insecure=True)
    with running(TcpSource(config)) as source:
        assert source.address.startswith("0.0.0.0:")
