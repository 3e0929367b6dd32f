"""The sender of frames: what is on the wire, what is dropped, and that it comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from live import SCAN, TIMEOUT_S, make_server, numbered_frame, running, wait_until
from numpy.typing import NDArray
from rf_listener import rf_listener
from secured_publisher import KeyRing

from usert.errors import FrameError, OptionError, UsertError
from usert.frame import Scan
from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer

ANY = "tcp://127.0.0.1:0"
IQ = Scan(fs_hz=10e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.3, demodulation_hz=6.5e6)
LARGE = np.zeros((2048, 512), np.int16)
"""A frame of 2 MB: a socket that nobody reads has no room for a second or third one."""


class Listener:
    """A socket that frames come to."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket

    def receive(self) -> RFMessage:
        assert self.socket.poll(round(1e3 * TIMEOUT_S))
        return RFMessage.from_parts(self.socket.recv_multipart())


@contextmanager
def listener(sender: FrameSender, kind: int = zmq.SUB) -> Iterator[Listener]:
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger, socket.rcvhwm = 0, 1
        if kind == zmq.SUB:
            socket.subscribe(b"")
        socket.connect(sender.endpoint)
        yield Listener(socket)


def sent_and_received(samples: Any, scan: Scan = SCAN, **options: Any) -> RFMessage:
    with FrameSender(ANY, scan, stream="probe") as sender, listener(sender) as heard:
        assert sender.wait_for_receiver(TIMEOUT_S)
        assert sender.send(samples, **options)
        return heard.receive()


def test_a_frame_arrives_as_it_is_with_its_geometry_and_stamps() -> None:
    samples = numbered_frame().samples
    before = time.monotonic_ns(), time.time_ns()
    message = sent_and_received(samples)
    np.testing.assert_array_equal(message.frame.samples, samples)
    assert (message.frame.scan, message.stream, message.clock) == (SCAN, "probe", clock_id())
    assert before[0] <= message.frame.time_ns <= time.monotonic_ns()
    assert before[1] <= message.frame.acquired_ns
    assert message.frame.sequence == 0


def test_what_the_scanner_states_is_sent() -> None:
    deeper = Scan(fs_hz=20e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.2)
    with FrameSender(ANY, SCAN, clock="c1") as sender, listener(sender) as heard:
        assert sender.wait_for_receiver(TIMEOUT_S)
        sender.send(numbered_frame().samples, deeper, sequence=np.int64(41), time_ns=7, acquired_ns=0)
        sender.send(numbered_frame().samples)
        first, second = heard.receive(), heard.receive()
    assert (first.frame.sequence, first.frame.time_ns, first.frame.acquired_ns) == (41, 7, 0)
    assert (first.frame.scan, first.clock) == (deeper, "c1")
    assert (second.frame.scan, second.frame.sequence) == (SCAN, 42)


PAIRS = np.random.default_rng(0).integers(-1000, 1000, (6, 4, 2)).astype(np.float32)
COMPLEX = PAIRS[..., 0] + 1j * PAIRS[..., 1]


@pytest.mark.parametrize(
    ("samples", "scan", "expected"),
    [
        (PAIRS[..., 0].astype(np.float64), SCAN, PAIRS[..., 0]),
        (PAIRS[..., 0], SCAN, PAIRS[..., 0]),
        (np.asfortranarray(PAIRS[..., 0].astype(np.int16)), SCAN, PAIRS[..., 0]),
        (PAIRS[::2, ::-1, 1], SCAN, PAIRS[::2, ::-1, 1]),
        ([[1.0, 2.0], [3.0, 4.0]], SCAN, [[1, 2], [3, 4]]),
        ([[1.0, np.nan]], SCAN, [[1, np.nan]]),
        (PAIRS, IQ, PAIRS),
        (PAIRS.astype(np.int16), IQ, PAIRS),
        (COMPLEX.astype(np.complex64), IQ, PAIRS),
        (COMPLEX.astype(np.complex128), IQ, PAIRS),
        (COMPLEX.T, IQ, PAIRS.transpose(1, 0, 2)),
    ],
)
def test_every_layout_of_an_array_is_the_same_frame(samples: Any, scan: Scan, expected: Any) -> None:
    frame = sent_and_received(samples, scan).frame
    np.testing.assert_array_equal(frame.samples, expected)
    assert frame.samples.dtype == (np.int16 if getattr(samples, "dtype", None) == np.int16 else np.float32)


@pytest.mark.parametrize("samples", [LARGE.copy(), LARGE[:, ::2].copy().T, COMPLEX.astype(np.complex64)])
def test_the_scanner_may_use_its_buffer_again_at_once(samples: NDArray[Any]) -> None:
    scan = IQ if np.iscomplexobj(samples) else SCAN
    with FrameSender(ANY, scan) as sender, listener(sender) as heard:
        assert sender.wait_for_receiver(TIMEOUT_S)
        samples[:] = 1
        sender.send(samples)
        samples[:] = 2
        np.testing.assert_array_equal(heard.receive().frame.signal, np.ones(samples.shape))


@pytest.mark.parametrize(
    ("samples", "scan", "told"),
    [
        (np.zeros((4, 3), np.int32), SCAN, "got dtype int32, expected int16 or float32"),
        (np.zeros((4, 3), ">i2"), SCAN, "got dtype >i2, expected int16 or float32"),
        ("frame", SCAN, "got dtype <U5, expected int16 or float32"),
        (np.zeros(12, np.int16), SCAN, r"got shape \(12,\)"),
        (np.zeros((0, 3), np.int16), SCAN, r"got shape \(0, 3\)"),
        (np.zeros((4, 3, 1), np.int16), SCAN, r"got shape \(4, 3, 1\)"),
        (np.zeros((4, 3), np.complex64), SCAN, "IQ needs a scan with demodulation_hz"),
        (np.zeros((4, 3), np.float32), IQ, "in-phase and quadrature"),
        (np.zeros((4, 3, 2), np.complex64), IQ, r"got shape \(4, 3, 2, 2\)"),
        (np.zeros((1, 4097), np.int16), SCAN, "at most 32768 axial samples, 4096 scan lines"),
        (np.zeros((32768, 513), np.int16), SCAN, "and 16777216 of both"),
    ],
)
def test_what_is_no_frame_is_one_clear_error_and_the_next_one_is_sent(
    samples: Any, scan: Scan, told: str
) -> None:
    with FrameSender(ANY, scan) as sender, listener(sender) as heard:
        assert sender.wait_for_receiver(TIMEOUT_S)
        with pytest.raises(FrameError, match=told):
            sender.send(samples)
        sender.send(numbered_frame().samples, SCAN)
        assert heard.receive().frame.sequence == 0
        assert (sender.sent, sender.dropped) == (1, 0)


@pytest.mark.parametrize("field", ["sequence", "time_ns", "acquired_ns"])
@pytest.mark.parametrize("value", [-1, 1 << 63])
def test_counts_that_no_header_holds_are_refused(field: str, value: int) -> None:
    with FrameSender(ANY, SCAN) as sender:
        with pytest.raises(OptionError, match=f"{field}: got {value}, expected an integer from 0"):
            sender.send(numbered_frame().samples, **{field: value})  # type: ignore[arg-type]
        assert sender.dropped == 0


@pytest.mark.parametrize(
    "options", [{"stream": "a\nb"}, {"stream": "x" * 257}, {"clock": "\ud800"}, {"socket_type": "req"}]
)
def test_names_that_no_header_holds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r": got .*, expected "):
        FrameSender(ANY, SCAN, **options)


def test_frames_that_nobody_receives_are_dropped_and_counted_and_leave_a_gap() -> None:
    with FrameSender(ANY, SCAN) as sender:
        assert not sender.wait_for_receiver(0)
        assert not any(sender.send(numbered_frame().samples) for _ in range(5))
        with listener(sender) as heard:
            assert sender.wait_for_receiver(TIMEOUT_S)
            assert sender.send(numbered_frame().samples)
            assert heard.receive().frame.sequence == 5
        wait_until(lambda: not sender.wait_for_receiver(0))
        assert not sender.send(numbered_frame().samples)
        assert (sender.sent, sender.dropped) == (1, 6)


@pytest.mark.parametrize("kind", ["pub", "push"])
def test_a_receiver_that_stalls_costs_frames_and_no_time(kind: Any) -> None:
    with (
        FrameSender(ANY, SCAN, socket_type=kind) as sender,
        listener(sender, zmq.SUB if kind == "pub" else zmq.PULL) as heard,
    ):
        assert sender.wait_for_receiver(TIMEOUT_S)
        while sender.dropped < 50:  # it would end no more if `send` waited
            sender.send(LARGE)
        numbers = [heard.receive().frame.sequence for _ in range(sender.sent)]
        assert not heard.socket.poll(50)  # the count is exact
        assert numbers == sorted(numbers)
        assert sender.wait_for_receiver(TIMEOUT_S)
        assert sender.send(LARGE)  # and it goes on
        assert heard.receive().frame.sequence == sender.sent + sender.dropped - 1


def test_a_receiver_that_stalls_does_not_hold_up_another() -> None:
    with FrameSender(ANY, SCAN) as sender, listener(sender) as stalled, ExitStack() as stack:
        assert sender.wait_for_receiver(TIMEOUT_S)
        while sender.dropped < 3:
            sender.send(LARGE)
        quick = stack.enter_context(listener(sender))
        for _ in range(20):  # more than the stalled one has room for
            wait_until(lambda: sender.send(numbered_frame().samples) and bool(quick.socket.poll(50)))
            quick.receive()
        assert stalled.receive().frame.sequence == 0


def test_subscriptions_to_something_else_are_no_receivers() -> None:
    with FrameSender(ANY, SCAN) as sender, zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.connect(sender.endpoint)
        socket.subscribe(b"strain")
        assert not sender.wait_for_receiver(0.2)
        socket.subscribe(b'{"usert":1')
        assert sender.wait_for_receiver(TIMEOUT_S)


def test_any_thread_may_send_and_no_number_is_given_twice() -> None:
    with FrameSender(ANY, SCAN) as sender:

        def send() -> None:
            for _ in range(200):
                sender.send(numbered_frame().samples)

        threads = [threading.Thread(target=send) for _ in range(4)]
        numbers: list[int] = []
        with rf_listener(None, sender.endpoint) as heard:
            assert sender.wait_for_receiver(TIMEOUT_S)
            accept = heard.accept
            heard.accept = lambda message, at: (numbers.append(message.frame.sequence), accept(message, at))[
                1
            ]  # type: ignore[method-assign]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wait_until(lambda: len(numbers) == sender.sent)
    assert sender.sent + sender.dropped == 800
    assert numbers == sorted(set(numbers))


def test_it_is_open_from_open_to_close_once() -> None:
    sender = FrameSender(ANY, SCAN)
    with pytest.raises(ValueError, match="FrameSender is new"):
        sender.send(LARGE)
    assert sender.open() is sender
    with pytest.raises(OptionError, match="cannot bind"):
        FrameSender(sender.endpoint, SCAN).open()
    sender.close()
    sender.close()
    with pytest.raises(ValueError, match="FrameSender is closed"):
        sender.send(LARGE)
    assert not sender.wait_for_receiver(TIMEOUT_S)


def test_a_frame_without_geometry_is_an_error_of_the_program() -> None:
    with FrameSender(ANY) as sender, pytest.raises(ValueError, match="got no scan"):
        sender.send(LARGE)


@pytest.mark.parametrize(("kind", "bind"), [("pub", True), ("pub", False), ("push", True), ("push", False)])
def test_after_a_restart_of_the_server_frames_are_received_again(
    tmp_path: Path, engine: Engine, kind: Any, bind: bool
) -> None:
    endpoint = f"ipc://{tmp_path}/rf"
    config = ServerConfig(
        rf=endpoint, rf_type="sub" if kind == "pub" else "pull", rf_bind=not bind, publish=ANY
    )
    with FrameSender(endpoint, SCAN, socket_type=kind, bind=bind) as sender:
        for _ in range(2):
            with running(StrainServer(engine=engine, config=config, weights_hash="")) as server:

                def received(server: StrainServer = server) -> bool:
                    sender.send(numbered_frame().samples)
                    return server.counts.frames.received > 3

                wait_until(received)
                assert not server.counts.malformed
            before = sender.sent
            wait_until(lambda: not sender.send(LARGE))
            assert sender.sent <= before + 4  # what it still took before the server's end was known


@pytest.mark.parametrize(("kind", "bind"), [("pub", True), ("push", False)])
def test_with_keys_only_the_server_that_is_known_receives(tmp_path: Path, kind: Any, bind: bool) -> None:
    ring = KeyRing(tmp_path)
    ring.allow("scanner", "receiver")
    if bind:
        with FrameSender(ANY, SCAN, keys=ring.server()) as sender:
            with rf_listener(None, sender.endpoint):
                assert not sender.wait_for_receiver(0.3)
            with rf_listener(ring.client("receiver"), sender.endpoint) as heard:
                assert sender.wait_for_receiver(TIMEOUT_S)
                assert sender.send(numbered_frame().samples)
                wait_until(lambda: heard.received == {"scanner": 1})
        return
    with rf_listener(ring.server(), kind="pull") as heard:
        for keys in (ring.client("stranger"), ring.client("scanner", server="elsewhere"), None):
            with FrameSender(heard.endpoint, SCAN, socket_type=kind, bind=False, keys=keys) as sender:
                assert not sender.wait_for_receiver(0.3)
                assert not sender.send(numbered_frame().samples)
        keys = ring.client("scanner")
        with FrameSender(heard.endpoint, SCAN, socket_type=kind, bind=False, keys=keys) as sender:
            assert sender.wait_for_receiver(TIMEOUT_S)
            assert sender.send(numbered_frame().samples)
            wait_until(lambda: heard.received == {"scanner": 1})


@pytest.mark.parametrize("bind", [True, False])
def test_keys_of_the_other_side_are_refused(tmp_path: Path, bind: bool) -> None:
    ring = KeyRing(tmp_path)
    with pytest.raises(OptionError, match="expected ServerKeys to bind, ClientKeys to connect"):
        FrameSender(ANY, SCAN, bind=bind, keys=ring.client("scanner") if bind else ring.server())


def test_another_machine_needs_keys_or_so_many_words() -> None:
    with pytest.raises(UsertError, match="--insecure"):
        FrameSender("tcp://0.0.0.0:5555", SCAN)
    assert FrameSender("tcp://0.0.0.0:5555", SCAN, insecure=True).endpoint == "tcp://0.0.0.0:5555"


def test_a_live_server_makes_images_of_what_is_sent(engine: Engine, source: Any) -> None:
    with (
        FrameSender(ANY, SCAN) as sender,
        running(make_server(engine, source, rf=sender.endpoint, rf_type="sub")) as server,
    ):
        assert sender.wait_for_receiver(TIMEOUT_S)

        def published() -> bool:
            sender.send(numbered_frame(sender.sent).samples)
            return server.counts.published > 2

        wait_until(published)
