"""The client: newest image, honest age, watchdog."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import zmq
from live import TIMEOUT_S, wait_until
from publishing import Publisher, image

from usert.errors import OptionError
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.imaging.frames import FrameStamp
from usert.runtime.protocol.age import age_of, clock_id


def test_images_are_iterated_until_stop(publisher: Publisher) -> None:
    seen = []
    with StrainClient(publisher.endpoint) as client:
        publisher.wait()
        publisher.send(image(1))
        for message in client:
            seen.append(message.counters.published)
            if len(seen) == 3:
                client.stop()
            else:
                publisher.send(image(len(seen) + 1))
    assert seen == [1, 2, 3]


def test_a_slow_caller_gets_the_newest(publisher: Publisher) -> None:
    with StrainClient(publisher.endpoint) as client:
        publisher.wait()
        publisher.send(*(image(k) for k in range(1, 9)))
        wait_until(lambda: client.skipped == 7)
        message = client.receive(TIMEOUT_S)
        assert message is not None
        assert message.counters.published == 8
        assert client.receive(0) is None


def test_a_timeout_gives_none_and_no_image_is_stale(publisher: Publisher) -> None:
    with StrainClient(publisher.endpoint) as client:
        assert client.receive(0.01) is None
        assert client.age is None
        assert client.image_state == "stale"


def test_stop_ends_a_wait_from_another_thread(publisher: Publisher) -> None:
    with StrainClient(publisher.endpoint) as client:
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.append(client.receive()))
        thread.start()
        client.stop()
        thread.join(TIMEOUT_S)
        assert answers == [None]


def test_garbage_is_counted_and_survived(publisher: Publisher) -> None:
    with StrainClient(publisher.endpoint) as client:
        publisher.wait()
        publisher.socket.send(b"hello")
        publisher.socket.send_multipart([b'{"usert":9}', b""])
        publisher.send(image(1))
        assert client.receive(TIMEOUT_S) is not None
        assert client.malformed == {"header": 1, "version": 1}


def test_the_watchdog_calls_an_old_image_stale(publisher: Publisher) -> None:
    with StrainClient(publisher.endpoint, stale_ms=200) as client:
        publisher.wait()
        publisher.send(image(1))
        assert client.receive(TIMEOUT_S) is not None
        assert client.age is not None
        assert client.age.exact
        wait_until(lambda: client.image_state == "stale")
        assert client.age.ms > 200


def test_it_connects_again_by_itself() -> None:
    def publishes_to(endpoint: str, client: StrainClient | None) -> str:
        with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
            socket.linger = 0
            socket.bind(endpoint)
            found = Publisher(socket)
            if client is not None:
                found.wait()
                found.send(image(1))
                assert client.receive(TIMEOUT_S) is not None
            return found.endpoint

    endpoint = publishes_to("tcp://127.0.0.1:0", None)
    with StrainClient(endpoint) as client:
        for _ in range(2):
            publishes_to(endpoint, client)


def test_another_machine_needs_so_many_words() -> None:
    with pytest.raises(OptionError, match="--insecure"):
        StrainClient("tcp://10.0.0.1:5556")
    StrainClient("tcp://10.0.0.1:5556", insecure=True)


@pytest.mark.parametrize(
    ("clocks", "ms", "exact"),
    [
        (("here", "here"), 90, True),  # now 100 - time 10
        (("there", "here"), 70, False),  # now 100 - received 30
        (("", "here"), 70, False),
        (("there", "there"), 60, False),  # published 50 - time 10, then now 100 - arrived 80
        (("there", "elsewhere"), 40, False),  # published 50 - received 30, then now 100 - arrived 80
    ],
)
def test_age_uses_only_times_of_one_clock(clocks: tuple[str, str], ms: float, exact: bool) -> None:
    message = image(
        source_clock=clocks[0],
        server_clock=clocks[1],
        current=FrameStamp(sequence=1, time_ns=10_000_000, acquired_ns=1),
        received_ns=30_000_000,
        published_ns=50_000_000,
    )
    age = age_of(message, 80_000_000, 100_000_000, "here")
    assert (age.ms, age.exact) == (ms, exact)
    assert str(age) == f"{'' if exact else '>'}{ms} ms"


def test_a_stamp_from_the_future_or_none_is_not_believed() -> None:
    for time_ns in (0, 31_000_000):
        stamp = FrameStamp(sequence=1, time_ns=time_ns, acquired_ns=1)
        message = replace(image(), current=stamp, received_ns=30_000_000, published_ns=50_000_000)
        age = age_of(message, 80_000_000, 100_000_000, clock_id())
        assert (age.ms, age.exact) == (70, False)
