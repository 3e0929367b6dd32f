"""Key files: whose they are, what they hold, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import zmq
import zmq.auth

from usert.errors import OptionError
from usert.runtime.transport import keys
from usert.runtime.transport.keys import ClientKeys, KeyPair, ServerKeys, load_public, make_keys, public_keys


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_pair_is_what_zeromq_reads_and_what_it_writes_is_read(tmp_path: Path) -> None:
    secret, public = make_keys("ours", tmp_path)
    pair = KeyPair.load(secret)
    assert zmq.auth.load_certificate(secret) == (pair.public, pair.secret)
    assert zmq.auth.load_certificate(public) == (pair.public, None)
    assert zmq.curve_public(pair.secret) == pair.public == load_public(public)
    their_public, their_secret = zmq.auth.create_certificates(
        tmp_path, "theirs", {"name": 'it\'s "public-key"'}
    )
    os.chmod(their_secret, 0o600)
    theirs = KeyPair.load(Path(their_secret))
    assert (theirs.public, theirs.secret) == zmq.auth.load_certificate(their_secret)
    assert public_keys(tmp_path) == {"ours": pair.public, "theirs": load_public(Path(their_public))}


def test_a_secret_is_its_owners_alone_from_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    replace = os.replace

    def noted(source: str, target: Path) -> None:
        if target.suffix == keys.SECRET:
            assert not target.exists()
            seen.append(mode(Path(source)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    old = os.umask(0)
    try:
        secret, public = make_keys("a", tmp_path)
    finally:
        os.umask(old)
    assert seen == [0o600]
    assert (mode(secret), mode(public)) == (0o600, 0o644)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.key", "a.key_secret"]


def test_a_secret_is_not_printed(tmp_path: Path) -> None:
    pair = KeyPair.load(make_keys("a", tmp_path)[0])
    client = ClientKeys(pair=pair, server=pair.public)
    assert pair.secret.decode() not in f"{pair!r} {client!r} {ServerKeys(pair=pair, allowed=tmp_path)!r}"


def test_a_pair_is_not_lost_by_accident(tmp_path: Path) -> None:
    secret, public = make_keys("a", tmp_path)
    before = secret.read_bytes()
    with pytest.raises(OptionError, match=r"/a\.key_secret .*: .*--force"):
        make_keys("a", tmp_path)
    secret.unlink()
    with pytest.raises(OptionError, match=r"/a\.key .*: .*--force"):
        make_keys("a", tmp_path)
    assert not secret.exists()
    make_keys("a", tmp_path, force=True)
    assert secret.read_bytes() != before
    assert KeyPair.load(secret).public == load_public(public)


@pytest.mark.parametrize("name", ["", ".", "../a", "a/b", ".a", "a b", "ä", "a" * 65, "a\n"])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="name: got"):
        make_keys(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"^keys: cannot write .*/file: "):
        make_keys("a", tmp_path / "file")


@pytest.mark.parametrize("others", [0o640, 0o604, 0o620, 0o601])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, others: int) -> None:
    secret, _ = make_keys("a", tmp_path)
    secret.chmod(others)
    with pytest.raises(OptionError, match=r"/a\.key_secret .*others.*: chmod 600"):
        KeyPair.load(secret)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\x00" * 100,
        b'public-key = ""',
        b'public-key = "' + b"~" * 40 + b'"',
        b'public-key = "' + b"#" * 40 + b'"',  # 85**5 - 1 is more than 32 bits hold
        b'public-key = "' + b"x" * 41 + b'"',
        b'# public-key = "' + b"x" * 40 + b'"',
        b'secret-key = "' + b"x" * 40 + b'"',
        b" " * 20_000 + b'\npublic-key = "' + b"x" * 40 + b'"',
    ],
)
def test_what_is_no_key_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bad.key"
    path.write_bytes(text)
    with pytest.raises(OptionError, match=r"bad\.key, .*CURVE"):
        load_public(path)
    with pytest.raises(OptionError, match=r"bad\.key"):
        public_keys(tmp_path)


def test_the_two_files_are_not_confused(tmp_path: Path) -> None:
    secret, public = make_keys("a", tmp_path)
    public.chmod(0o600)
    with pytest.raises(OptionError, match=r"/a\.key, .*secret.*, expected .*NAME\.key_secret"):
        KeyPair.load(public)
    with pytest.raises(OptionError, match=r"/a\.key_secret, .*secret.*, expected .*NAME\.key "):
        load_public(secret)
    other = load_public(make_keys("b", tmp_path)[1])
    secret.write_bytes(secret.read_bytes().replace(load_public(public), other))
    with pytest.raises(OptionError, match=r"/a\.key_secret: .*pair"):
        KeyPair.load(secret)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    secret, _ = make_keys("a", tmp_path)
    with pytest.raises(OptionError, match=r"^key: cannot read .*none: No such"):
        KeyPair.load(tmp_path / "none")
    with pytest.raises(OptionError, match=r"^keys: .*folder .*none: No such"):
        ServerKeys.load(secret, tmp_path / "none")
    with pytest.raises(OptionError, match=r"^keys: .*folder .*a\.key: Not a directory"):
        ServerKeys.load(secret, tmp_path / "a.key")
    with pytest.raises(OptionError, match=r"^key: cannot read .*none: No such"):
        ClientKeys.load(secret, tmp_path / "none")


def test_a_list_that_anybody_may_add_to_is_refused(tmp_path: Path) -> None:
    secret, _ = make_keys("a", tmp_path / "keys")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    assert ServerKeys.load(secret, allowed).allowed == allowed
    allowed.chmod(0o777)
    with pytest.raises(OptionError, match=r"^keys: .*/allowed, .*chmod o-w"):
        ServerKeys.load(secret, allowed)
