"""Messages that nobody should send, thousands of them: refused or read, counted, and survived."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import zmq
from live import SCAN, Feed, Source, make_server, numbered_message, running, wait_until
from messages import strain_message
from mutations import Mutations, Parts
from zmtp import greeting, part, ready

from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.header import MalformedError
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.server.server import StrainServer


def valid_messages() -> list[Parts]:
    """Of the source `fuzz`: int16 and float32."""
    made = [numbered_message(k, stream="fuzz", clock="c", time_ns=k + 1) for k in range(3)]
    noise = np.random.default_rng(0).standard_normal((24, 8)).astype(np.float32)
    made.append(numbered_message(3, stream="fuzz", clock="c", time_ns=4, samples=noise))
    return [[bytes(part) for part in message.to_parts()] for message in made]


def read(parts: Parts) -> RFMessage | None:
    """None for a message that is refused."""
    try:
        return RFMessage.from_parts(parts)
    except MalformedError:
        return None


def test_a_mutated_frame_is_refused_or_can_be_sent_on() -> None:
    seen: dict[str, set[bool]] = {}
    for name, parts, broken in islice(Mutations(valid_messages(), seed=0), 6000):
        message = read(parts)
        seen.setdefault(name, set()).add(message is None)
        if broken is not None:
            assert (message is None) == broken, (name, parts[0][:300])
        if message is None:
            continue
        again = [bytes(part) for part in message.to_parts()]
        assert again[1] == parts[1]
        copy = RFMessage.from_parts(again)
        assert [bytes(part) for part in copy.to_parts()] == again
        assert (copy.stream, copy.clock, copy.frame.scan) == (
            message.stream,
            message.clock,
            message.frame.scan,
        )
    assert len(seen) == 26
    assert {name for name, refused in seen.items() if refused == {True, False}} >= {"strange_value", "twice"}


def test_a_mutated_frame_of_iq_is_refused_or_can_be_sent_on() -> None:
    rng, seen = random.Random(0), set()
    steps = ((0.0, 6.5e6), (20.0, 6e6))
    scan = replace(SCAN, fs_hz=20e6, demodulation_hz=steps, radius_mm=60.0, line_angle_deg=0.3)
    pairs = np.random.default_rng(0).integers(-99, 99, (24, 8, 2), dtype=np.int16)
    header, samples = map(bytes, numbered_message(0, samples=pairs, scan=scan).to_parts())
    fields = json.loads(header)
    keys = "demodulation_hz", "shape", "dtype", "radius_mm", "line_angle_deg", "first_depth_mm", "fs_hz"
    values = (
        *(None, True, 0, -1, 6e6, 7e6, 2**70, 1e-300, 1e300, "6e6", "float32", [], {}, [[]], [[0, 6e6]]),
        *(
            [[0, 6e6], [0, 6e6]],
            [[0, 6e6, 1]],
            [[k, 6e6] for k in range(65)],
            [[0, None]],
            [[-3.5, 6e6], [9, 7e6]],
        ),
        *([24, 8], [24, 8, 1], [8, 24, 2], [24, 2, 8], [48, 4, 2], [24, 8, 2, 1], 20e6, 1.5, [[0, 1e99]]),
    )
    for _ in range(4000):
        changed = fields | {rng.choice(keys): rng.choice(values) for _ in range(rng.choice((1, 1, 2)))}
        for key in rng.sample(keys, rng.choice((0, 0, 0, 1, 2))):
            changed.pop(key, None)
        message = read([json.dumps(changed).encode(), samples])
        seen.add(message is None)
        if message is not None:
            again = [bytes(part) for part in message.to_parts()]
            assert again[1] == samples
            assert RFMessage.from_parts(again).frame.scan == message.frame.scan
    assert seen == {True, False}


def test_a_mutated_image_is_refused_or_can_be_sent_on() -> None:
    rng = random.Random(0)
    valid = [bytes(part) for part in strain_message().to_parts()]
    refused = 0
    for k in range(6000):
        parts = list(valid)
        header = bytearray(valid[0])
        for _ in range(rng.choice((1, 2, 8))):
            place = rng.randrange(len(header))
            header[place : place + rng.choice((0, 1, 1, 3))] = rng.choice(
                (b"", rng.randbytes(1), b"9", b'"', b"1e9", b"null", b"-", b"\\ud800")
            )
        parts[0] = bytes(header)
        if k % 10 == 0:
            parts = rng.choice((parts[:-1], [*parts, b""], parts[::-1], [*parts[:2], *parts[:1:-1]]))
        try:
            message = StrainMessage.from_parts(parts)
        except MalformedError:
            refused += 1
            continue
        again = [bytes(part) for part in message.to_parts()]
        assert [bytes(part) for part in StrainMessage.from_parts(again).to_parts()] == again
    assert 3000 < refused < 6000


def test_a_server_counts_mutated_frames_and_serves_the_valid_ones(engine: Engine, source: Source) -> None:
    """Every image between them comes, and says how many were malformed."""
    with (
        running(make_server(engine, source)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        feed = Feed(source, client)
        feed.prime()
        malformed, received = 0, server.counts.frames.received
        mutated = iter(Mutations(valid_messages(), seed=1))
        for _ in range(30):
            for name, parts, broken in islice(mutated, 60):
                source.send_parts(*parts)
                refused = read(parts) is None if broken is None else broken
                malformed, received = malformed + refused, received + (not refused)
                assert server.state == "open", name
            for _ in range(
                20
            ):  # a client keeps the newest image of all streams: one may be of the frames between
                wanted = pair(feed)
                received += 2
                if (image := of(client, wanted)) is not None:
                    break
            assert image is not None
            assert (image.counters.malformed, image.counters.received) == (malformed, received)
        assert client.malformed == {}


def of(client: StrainClient, wanted: tuple[str, int]) -> StrainMessage | None:
    """The image of that stream and frame; None where the newest for a while is another."""
    while (image := client.receive(1.0)) is not None:
        if (image.stream, image.current.sequence) == wanted:
            return image
    return None


def pair(feed: Feed) -> tuple[str, int]:
    """Send two frames; name and number of the second."""
    feed.next()
    message = feed.next()
    return message.stream, message.frame.sequence


@pytest.fixture
def bound(engine: Engine, source: Source) -> Iterator[StrainServer]:
    with running(make_server(engine, source, rf="tcp://127.0.0.1:0", rf_bind=True)) as server:
        yield server


def test_mutated_connections_do_not_reach_the_server(bound: StrainServer) -> None:
    rng = random.Random(0)
    header, samples = valid_messages()[0]
    whole = greeting() + ready(b"PUSH") + part(header, more=True) + part(samples, more=False)
    port = int(bound.rf_endpoints[0].rsplit(":", 1)[1])
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.linger = 0
        push.connect(bound.rf_endpoints[0])
        for k in range(150):
            data = bytearray(whole[: rng.randrange(len(whole))])
            for _ in range(rng.choice((0, 1, 4))):
                if data:
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(data)
            if k % 10 == 0:
                sent = numbered_message(k + 1, time_ns=k + 1, clock=clock_id())
                received = bound.counts.frames.received
                push.send_multipart(sent.to_parts())
                wait_until(lambda received=received: bound.counts.frames.received > received)
    assert json.loads(header)["stream"] == "fuzz"
