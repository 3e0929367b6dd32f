"""Who is heard on the control channel: those with a key that is allowed there, as long as it is, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import zmq
from control_ends import RECORD, STATUS, Desk, answer_of, opened, raw, serving
from live import wait_until
from secured_publisher import KeyRing

from usert.errors import ControlError, OptionError
from usert.runtime.clients.control_client import ControlClient
from usert.runtime.protocol.commands import Quit
from usert.runtime.transport.access import Authenticator
from usert.runtime.transport.keys import ClientKeys, KeyPair


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(tmp_path)
    made.allow("console")
    return made


OUTSIDERS = ("no key", "a key that is not allowed", "another server's key", "an allowed key, not its secret")


def outsider(who: str, ring: KeyRing) -> ClientKeys | None:
    stranger, console = ring.client("stranger"), ring.client("console")
    forged = KeyPair(public=console.pair.public, secret=stranger.pair.secret)
    keys = None, stranger, ring.client("console", server="elsewhere"), replace(console, pair=forged)
    return dict(zip(OUTSIDERS, keys, strict=True))[who]


@pytest.mark.parametrize("who", OUTSIDERS)
def test_an_outsider_is_not_heard(ring: KeyRing, who: str) -> None:
    keys = outsider(who, ring)
    with (
        serving(desk := Desk(), ring.server()) as (server, _),
        ControlClient(server.endpoint, keys=ring.client("console")) as console,
        ControlClient(server.endpoint, keys=keys, timeout_s=0.5) as outside,
    ):
        assert console.ask(STATUS) == {"heard": 0}
        question = "" if keys is None else ", .*key"
        line = rf"^no answer .*{server.endpoint} .*0\.5 s: .*; .*--control[^,]*{question}\?$"
        with pytest.raises(ControlError, match=line):
            outside.ask(Quit())
        assert console.ask(STATUS) == {"heard": 1}
    assert desk.heard == ["status"] * 2
    assert server.malformed.counts == {}


def test_who_may_see_the_images_may_not_command(tmp_path: Path) -> None:
    viewers, operators = KeyRing(tmp_path / "viewers"), KeyRing(tmp_path / "operators")
    viewers.allow("display")
    operators.allow("console")
    keys = replace(viewers.client("display"), server=operators.client("server").pair.public)
    with (
        zmq.Context() as context,
        Authenticator(context, strain=viewers.server(), control=operators.server()) as authenticator,
        opened(context, desk := Desk(), access=authenticator.access("control")) as server,
        ControlClient(server.endpoint, keys=keys, timeout_s=0.5) as outside,
    ):
        with pytest.raises(ControlError, match=r"^no answer .* this key\?$"):
            outside.ask(STATUS)
        assert authenticator.denied.counts["key"] >= 1
    assert desk.heard == []


def test_who_lost_its_key_is_not_heard_and_sees_nothing_and_the_others_come_back(ring: KeyRing) -> None:
    ring.allow("visitor")
    with (
        serving(desk := Desk("record"), ring.server()) as (server, authenticator),
        ControlClient(server.endpoint, keys=ring.client("console")) as console,
        ControlClient(server.endpoint, keys=ring.client("visitor"), timeout_s=0.5) as visitor,
        raw(server.endpoint, zmq.DEALER, keys=ring.client("visitor"), name=b"same") as waiting,
    ):
        answer_of(visitor)
        answer_of(console)
        waiting.send(RECORD)
        wait_until(lambda: "record" in desk.heard)
        ring.revoke("visitor")
        wait_until(lambda: authenticator.denied.total > 1)
        with raw(server.endpoint, zmq.DEALER, keys=ring.client("console"), name=b"same") as heir:
            for _ in range(2):
                heir.send(STATUS)
                assert heir.reply().command == "status"
                if not desk.under_way[0].done():
                    desk.under_way[0].set_result({"secret": True})
        assert not waiting.socket.poll(0)
        with pytest.raises(ControlError, match=r"^no answer .* this key\?$"):
            visitor.ask(Quit())
        answer_of(console)
        ring.allow("visitor")
        answer_of(visitor)
    assert "quit" not in desk.heard


def test_another_machine_needs_keys_or_so_many_words(ring: KeyRing) -> None:
    with pytest.raises(OptionError, match="--insecure"):
        ControlClient("tcp://10.0.0.1:5557")
    ControlClient("tcp://10.0.0.1:5557", insecure=True)
    ControlClient("tcp://10.0.0.1:5557", keys=ring.client("console"))
