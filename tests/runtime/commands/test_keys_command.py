"""`usert keys`, and the options by which other commands take keys."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from live import TIMEOUT_S
from publishing import image
from rf_listener import rf_listener
from secured_publisher import KeyRing, secured_publisher

from usert.commands.keys import client_keys, server_keys, source_keys
from usert.commands.serve_options import Access
from usert.errors import OptionError
from usert.runtime.transport.keys import KeyPair, load_public

ANY = "tcp://127.0.0.1:0"


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(tmp_path)
    made.allow("display")
    return made


def usert(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "usert", *map(str, words)]


def ended(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(usert(*words), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_keys_are_made_and_listed(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    for name in ("or2-display", "or1-display"):
        done = ended("keys", "make", name, "--out", folder)
        assert (done.returncode, done.stderr) == (0, "")
        secret, public = (folder / f"{name}{kind}" for kind in (".key_secret", ".key"))
        assert done.stdout == f"keys: secret {secret}\nkeys: public {public}\n"
        assert KeyPair.load(secret).public == load_public(public)
    again = ended("keys", "make", "or2-display", "--out", folder)
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (1, "", 1)
    assert "is there already" in again.stderr
    listed = ended("keys", "list", folder)
    one, two = (load_public(folder / f"or{k}-display.key").decode() for k in (1, 2))
    assert listed.stdout == f"or1-display  {one}\nor2-display  {two}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("keys", "list", "absent"), "cannot read folder absent"),
        (("keys", "make", "../up", "--out", "."), "name: got '../up'"),
        (("watch", "--strain", "tcp://127.0.0.1:1", "--key", "a"), "got --key alone"),
        (("watch", "--strain", "tcp://127.0.0.1:1", "--server-key", "a"), "got --server-key alone"),
        (("watch", "--strain", "tcp://127.0.0.1:1", "--key", "a", "--server-key", "b"), "cannot read a"),
        (("watch", "--strain", "tcp://192.0.2.1:1"), "usert keys make"),
        (("replay", "--simulate", "--publish", ANY, "--key", "a"), "got --key alone"),
        (("replay", "--simulate", "--publish", ANY, "--allow", "a"), "got --allow alone"),
        (("replay", "--simulate", "--publish", ANY, "--server-key", "a"), "expected --allow"),
        (("replay", "--simulate", "--to", ANY, "--allow", "a"), "expected --server-key"),
        (("replay", "--simulate", "--publish", "tcp://*:0"), "usert keys make"),
    ],
)
def test_what_is_wrong_is_one_line(words: tuple[str, ...], expected: str) -> None:
    done = ended(*words)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert expected in done.stderr


def test_usert_watch_sees_with_its_keys(ring: KeyRing) -> None:
    with secured_publisher(ring.server()) as server:
        words = ("watch", "--strain", server.endpoint, "--count", "1", "--key", ring.secret("display"))
        with subprocess.Popen(
            usert(*words, "--server-key", ring.public("server")), stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                server.wait_for_subscribers()
                server.bound.socket.send_multipart(image().to_parts())
                output, _ = process.communicate(timeout=TIMEOUT_S)
            finally:
                process.kill()
    assert process.returncode == 0
    assert output.splitlines()[-1].startswith("watch: 1 image")


def test_usert_watch_says_that_its_key_is_not_allowed(ring: KeyRing) -> None:
    with secured_publisher(ring.server()) as server:
        done = ended(
            *("watch", "--strain", server.endpoint, "--seconds", "4"),
            *("--key", ring.secret("stranger"), "--server-key", ring.public("server")),
        )
    assert "no image" in done.stdout.splitlines()[-1]
    assert "does not allow this key" in done.stdout.splitlines()[-1]
    assert "does not allow this key" in done.stderr


def test_usert_replay_waits_for_who_is_allowed(ring: KeyRing) -> None:
    words = ("replay", "--simulate", "--publish", ANY, "--count", "40", "--rate", "200", "--stream", "s")
    with subprocess.Popen(
        usert(*words, "--key", ring.secret("scanner"), "--allow", ring.allowed),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            endpoint = process.stdout.readline().split(" on ")[1].split()[0]
            with (
                rf_listener(ring.client("stranger", server="scanner"), endpoint) as stranger,
                rf_listener(ring.client("display", server="scanner"), endpoint) as known,
            ):
                known.wait_for("s", 40)
                assert stranger.received == {}
            rest, _ = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert "40 frames sent" in rest


def test_options_make_keys_for_what_a_socket_does(ring: KeyRing) -> None:
    key, allow, public = ring.secret("server"), ring.allowed, ring.public("display")
    server, client = server_keys(key, allow), client_keys(key, public)
    assert server == ring.server()
    assert client == ring.client("server", server="display")
    assert server_keys(None, None) is client_keys(None, None) is None
    assert source_keys(binds=True, key=key, allow=allow, server=None) == server
    assert source_keys(binds=False, key=key, allow=None, server=public) == client


@pytest.mark.parametrize("rf_binds", [True, False])
def test_a_server_has_one_pair_for_both_sides(ring: KeyRing, rf_binds: bool) -> None:
    key, allow, public = ring.secret("server"), ring.allowed, ring.public("display")
    nothing: dict[str, Any] = {field.name: None for field in fields(Access)}

    def served(**given: Any) -> Any:
        return Access(**(nothing | given)).keys(rf_binds=rf_binds)

    rf = {"rf_allow": allow} if rf_binds else {"rf_key": public}
    wrong = {"rf_key": public} if rf_binds else {"rf_allow": allow}
    source = ring.server() if rf_binds else ring.client("server", server="display")
    control = {"control_allow": allow}
    assert served() == (None, None, None)
    assert served(key=key, allow=allow) == (ring.server(), None, None)
    assert served(key=key, **rf) == (None, source, None)
    assert served(key=key, **control) == (None, None, ring.server())
    assert served(key=key, allow=allow, **rf, **control) == (ring.server(), source, ring.server())
    for given, expected in (
        ({"key": key}, "got --key alone, expected --key and --allow"),
        ({"allow": allow}, "got --allow alone"),
        (rf, f"got --rf-{'allow' if rf_binds else 'key'} alone"),
        ({"allow": allow} | rf, "got --allow alone"),
        (control, "got --control-allow alone"),
        (
            {"key": key} | wrong,
            f"^--rf-.* {'binds, expected --rf-allow' if rf_binds else 'connects, expected --rf-key'}",
        ),
    ):
        with pytest.raises(OptionError, match=expected):
            served(**given)


def test_every_test_file_that_the_page_names_is_there() -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+\.py)`", page))
    assert named
    assert named <= {path.name for path in Path(__file__).parents[1].rglob("test_*.py")}
