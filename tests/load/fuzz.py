"""A live server before hostile peers: mutated messages, connections that break ZeroMQ's own protocol.

`usert serve` in a process of its own, default engine. `messages`: by a PUSH socket, with two valid frames of another
source after every 200, whose image must come and must count all that came before it, malformed and not. `rf` and
`publish`: bytes of ZMTP cut short and changed, over TCP, with a valid pair after every 50 connections. `unfinished`: a
message of which more parts always follow. Asserts the counts, that memory and descriptors do not grow, and that the
server wrote no exception.
"""

from __future__ import annotations

import argparse
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any

import zmq
from live_server import LiveServer
from mutations import Mutations
from observer import Observer
from source_process import SCAN, period
from vitals import Trend, Vitals, spread
from zmtp import command, greeting, part, ready

from usert.frame import RFFrame
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.header import MalformedError
from usert.runtime.protocol.rf_message import RFMessage

SHAPE = (256, 64)
_MESSAGES_A_PAIR = 200
_CONNECTIONS_A_PAIR = 50
_IMAGE_S = 120.0
"""Generous: a frame of an odd shape may keep the engine for seconds; the table says how long."""
_SETTLING = 0.3
"""Share of the checks after which memory has its size: engines keep something for each of some fifty shapes."""
_FEW_CHECKS = 100
"""Too few to say whether it grows."""
_PART_BYTES = 1 << 20
_PARTS = 64


class Peer:
    """A PUSH socket that mutations and valid frames leave in their order, and what the server must have counted."""

    def __init__(self, server: LiveServer, viewer: Observer, push: zmq.Socket[bytes]) -> None:
        self._server = server
        self._viewer = viewer
        self._push = push
        self._sequence = 0
        self.malformed = self.received = 0
        self.waits_ms: list[float] = []
        """From a valid pair to its image."""
        self.at: list[float] = []
        self.vitals: list[Vitals] = []

    def send(self, parts: list[bytes], broken: bool | None) -> None:
        """One mutation."""
        self._push.send_multipart(parts)
        if broken is None:
            broken = refused(parts)
        self.malformed += broken
        self.received += not broken

    def warm_up(self) -> None:
        """Until the viewer hears and the engine is open."""
        while not self._viewer.seen:
            with suppress(AssertionError):
                self._push.send_multipart(frame("valid", self._sequence, time.monotonic_ns()))
                self._sequence += 1
                self.received += 1
                self._viewer.wait(lambda image: True, timeout_s=0.2)
        self._viewer.rest(1.0)

    def check(self, *, exactly: bool = True) -> None:
        """A valid pair must give its image; `exactly`: the counts are known."""
        for _ in range(2):
            self._push.send_multipart(frame("valid", self._sequence, time.monotonic_ns()))
            self._sequence += 1
            self.received += 1
        begin, last = time.perf_counter(), self._sequence - 1
        try:
            image = self._viewer.wait(
                lambda image: image.stream == "valid" and image.current == last,
                since=max(len(self._viewer.seen) - 100, 0),
                timeout_s=_IMAGE_S,
            )
        except AssertionError as error:
            told = f"{len(self._viewer.seen)} images heard, the last says {self._viewer.seen[-1].counters}"
            raise AssertionError(f"valid frame {last}: no image in {_IMAGE_S:g} s; {told}") from error
        self.waits_ms.append(1e3 * (time.perf_counter() - begin))
        assert (image.shape, image.state) == (SHAPE, "live")
        if exactly:
            found = image.counters["malformed"], image.counters["received"]
            assert found == (self.malformed, self.received), (
                f"got {found}, sent {self.malformed}, {self.received}"
            )
        self.at.append(time.monotonic())
        self.vitals.append(self._server.vitals)

    def row(self, what: str, count: int) -> dict[str, Any]:
        """What was seen since the last row."""
        settled = round(_SETTLING * len(self.at))
        seconds, vitals = self.at[settled:], self.vitals[settled:]
        trend = Trend.of(seconds, [some.rss_mb for some in vitals])
        assert trend.flat or len(self.at) < _FEW_CHECKS, f"{what}: memory {trend}"
        assert vitals[-1].files <= vitals[0].files + 2, (
            f"{what}: {vitals[0].files} to {vitals[-1].files} files"
        )
        row = {
            "hostile": what,
            "count": count,
            "a second": count / (self.at[-1] - self.at[0]),
            "malformed": self.malformed,
            "valid pairs": len(self.waits_ms),
            **spread(self.waits_ms, "image after (ms)"),
            "RSS (MB a minute)": str(trend),
            "flat": trend.flat if len(self.at) >= _FEW_CHECKS else "too short",
            "RSS first, last (MB)": f"{vitals[0].rss_mb:.1f}, {vitals[-1].rss_mb:.1f}",
            "files": f"{vitals[0].files}, {vitals[-1].files}",
            "threads": f"{vitals[0].threads}, {vitals[-1].threads}",
        }
        self.waits_ms, self.at, self.vitals = [], [], []
        return row


def frame(stream: str, sequence: int, time_ns: int, *, dtype: str = "int16") -> list[bytes]:
    """A valid message of a press that always moves."""
    some = press()
    samples = some[sequence % len(some)].samples.astype(dtype)
    made = RFFrame(samples=samples, scan=SCAN, sequence=sequence, time_ns=time_ns, acquired_ns=time.time_ns())
    return [bytes(part) for part in RFMessage(frame=made, stream=stream, clock=clock_id()).to_parts()]


@cache
def press() -> list[RFFrame]:
    return period("press", SHAPE)


def refused(parts: list[bytes]) -> bool:
    """By the protocol's own reader: for mutations that may or may not break it."""
    try:
        RFMessage.from_parts(parts)
    except MalformedError:
        return True
    return False


def messages(peer: Peer, count: int, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """`count` mutations, and how many of each kind were malformed."""
    begin = time.monotonic_ns()
    valid = [frame("fuzz", k, begin + k, dtype="float32" if k == 3 else "int16") for k in range(4)]
    mutations, kinds, before = Mutations(valid, seed), Counter[str](), Counter[str]()
    for _ in range(max(count // _MESSAGES_A_PAIR, 4)):
        for name, parts, broken in islice(mutations, _MESSAGES_A_PAIR):
            had = peer.malformed
            peer.send(parts, broken)
            kinds[name] += 1
            before[name] += peer.malformed - had
        peer.check()
    rows = [{"mutation": name, "sent": kinds[name], "malformed": before[name]} for name in sorted(kinds)]
    return peer.row("messages", sum(kinds.values())), rows


def connections(peer: Peer, endpoint: str, what: str, count: int, seed: int) -> dict[str, Any]:
    """`count` connections to `endpoint`, each with a stream of ZMTP that is cut short, or changed, or none at all."""
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    kind = b"PUSH" if what == "rf" else b"SUB"
    streams = mutated_streams(kind, random.Random(seed))
    for k in range(max(count, 4 * _CONNECTIONS_A_PAIR)):
        with suppress(ConnectionError), socket.create_connection((host, int(port))) as connection:
            connection.settimeout(1.0)
            for chunk in next(streams):
                connection.sendall(chunk)
        if k % _CONNECTIONS_A_PAIR == 0:
            peer.check(exactly=False)
    return peer.row(f"connections to {what}", count)


def mutated_streams(kind: bytes, rng: random.Random) -> Iterator[list[bytes]]:
    """What a peer of `kind` sends, with something wrong; in one chunk or in several."""
    parts = frame("fuzz", 1, 1) if kind == b"PUSH" else [b"\x01" + bytes(1000)]
    whole = greeting() + ready(kind) + b"".join(part(some, more=True) for some in parts)
    while True:
        data = bytearray(whole)
        for _ in range(rng.choice((0, 1, 1, 4, 32))):
            data[rng.randrange(min(len(data), rng.choice((12, 64, 100, len(data)))))] = rng.randrange(256)
        if rng.random() < 0.5:
            del data[rng.randrange(len(data)) :]
        if rng.random() < 0.1:
            data = bytearray(rng.randbytes(rng.choice((1, 10, 64, 1000))))
        if rng.random() < 0.1:
            data += b"\x02" + struct.pack(">Q", rng.choice((1 << 27, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)))
        if rng.random() < 0.1:
            data += command(b"PING", b"\0\0" + b"x" * rng.choice((1, 100))) * rng.choice((1, 1000))
        middle = rng.randrange(len(data) + 1)
        yield [bytes(data[:middle]), bytes(data[middle:])]


def unfinished(peer: Peer, server: LiveServer) -> dict[str, Any]:
    """Parts of 1 MB to the RF port, the last of which never comes; then the connection ends."""
    host, port = server.rf.removeprefix("tcp://").rsplit(":", 1)
    before_mb = server.vitals.rss_mb
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(greeting() + ready(b"PUSH"))
        with suppress(ConnectionError):
            for _ in range(_PARTS):
                connection.sendall(part(bytes(_PART_BYTES), more=True))
        time.sleep(0.5)
        peer.check(exactly=False)
        during_mb = server.vitals.rss_mb
    time.sleep(0.5)
    peer.check(exactly=False)
    return {
        "hostile": "unfinished message",
        "sent (MB)": _PARTS,
        "RSS before (MB)": before_mb,
        "during": during_mb,
        "after": server.vitals.rss_mb,
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=2000, help="to each of the two ports")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    with (
        LiveServer(["--lag", "1", "--threads", "1"]) as server,
        Observer(server.publish) as viewer,
        zmq.Context() as context,
        context.socket(zmq.PUSH) as push,
    ):
        push.linger = 0
        push.sndtimeo = round(1e3 * _IMAGE_S)
        push.connect(server.rf)
        peer = Peer(server, viewer, push)
        peer.warm_up()
        row, kinds = messages(peer, options.messages, options.seed)
        rows = [row]
        for what, endpoint in (("rf", server.rf), ("publish", server.publish)):
            rows.append(connections(peer, endpoint, what, options.connections, options.seed))
        last = unfinished(peer, server)
        counts = server.end()
        assert viewer.malformed == {}, viewer.malformed
    return {"rows": rows, "unfinished": [last], "mutations": kinds, "counts": [counts]}
