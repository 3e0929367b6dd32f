"""CURVE keys in files: those of a server, those of a client, and the folder of public keys that a server allows.

Invariant: a secret key is only in files that nobody but their owner may read, both while it is written and when it is
used.

The format is ZeroMQ's certificate, which czmq and `zmq.auth` read and write, too: lines of text, among them
`public-key = "…"` and in a secret file `secret-key = "…"`, each 40 characters of Z85 (ZeroMQ RFC 32).
"""

from __future__ import annotations

import os
import re
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import zmq
from zmq.utils import z85

from usert.errors import OptionError

PUBLIC, SECRET = ".key", ".key_secret"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(rb'^[ \t]*(public|secret)-key[ \t]*=[ \t]*"([^"\r\n]{40})"[ \t]*\r?$', re.MULTILINE)
_MAX_BYTES = 16_384
_WIDER_THAN_OWNER, _WRITABLE_BY_ALL = 0o077, 0o002


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A public key and its secret half, in Z85."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a pair from a secret file. Errors: `OptionError`, also where others may read the file."""
        found = _read(path, secret=True)
        if "secret" not in found:
            raise OptionError(f"key: got {path}, without a secret key, expected a NAME{SECRET} file")
        if zmq.curve_public(found["secret"]) != found["public"]:
            raise OptionError(f"key: {path}: its public and its secret key are not a pair; make another")
        return cls(public=found["public"], secret=found["secret"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKeys:
    """The key pair of a socket that binds, and the clients that it allows."""

    pair: KeyPair
    allowed: Path
    """Folder of public keys: a client may connect while the file of its key lies there."""

    @classmethod
    def load(cls, key: Path, allowed: Path) -> Self:
        """Read the server's secret file, and check all files in the folder. Errors: `OptionError`."""
        public_keys(allowed)  # a server that would deny clients because of a broken file does not start
        if os.name == "posix" and allowed.stat().st_mode & _WRITABLE_BY_ALL:
            raise OptionError(
                f"keys: anybody may write into {allowed}, and so allow a key of their own: chmod o-w it"
            )
        return cls(pair=KeyPair.load(key), allowed=allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKeys:
    """The key pair of a socket that connects, and the one server that it accepts."""

    pair: KeyPair
    server: bytes
    """The public key of the server."""

    @classmethod
    def load(cls, key: Path, server: Path) -> Self:
        """Read the client's secret file and the server's public one. Errors: `OptionError`."""
        return cls(pair=KeyPair.load(key), server=load_public(server))

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make `socket` encrypt, and accept that server only; to be called before it connects."""
        socket.curve_publickey = self.pair.public
        socket.curve_secretkey = self.pair.secret
        socket.curve_serverkey = self.server


Keys = ServerKeys | ClientKeys


def load_public(path: Path) -> bytes:
    """Read the key in a public file. Errors: `OptionError`, also for a secret file, which must not be handed out."""
    found = _read(path)
    if "secret" in found:
        raise OptionError(f"key: got {path}, which holds a secret, expected the NAME{PUBLIC} file beside it")
    return found["public"]


def key_files(folder: Path) -> list[Path]:
    """The public key files in `folder`, sorted by name. Errors: `OptionError` for a folder that cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == PUBLIC and path.is_file())
    except OSError as error:
        raise OptionError(f"keys: cannot read folder {folder}: {error.strerror}") from error


def public_keys(folder: Path) -> dict[str, bytes]:
    """The keys in `folder` by the names of their files. Errors: `OptionError` at the first that is no public key."""
    return {path.stem: load_public(path) for path in key_files(folder)}


def make_keys(name: str, folder: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Make a key pair, and return the paths of its secret and its public file.

    `force`: replace a pair of that name. Errors: `OptionError`.
    """
    if not _NAME.fullmatch(name):
        raise OptionError(f"name: got {name!r}, expected 1 to 64 of A-Z a-z 0-9 . _ -, . _ - not first")
    secret_path, public_path = folder / (name + SECRET), folder / (name + PUBLIC)
    for path in () if force else (secret_path, public_path):
        if path.exists():
            raise OptionError(f"keys: {path} is there already: take another name, or --force to replace it")
    public, secret = (key.decode() for key in zmq.curve_keypair())
    shown = f'curve\n    public-key = "{public}"\n'
    hidden = f'    secret-key = "{secret}"\n'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(secret_path, f"# Secret key of {name}: it stays on its machine.\n{shown}{hidden}", 0o600)
        _write(public_path, f"# Public key of {name}.\n{shown}", 0o644)
    except OSError as error:
        raise OptionError(f"keys: cannot write into {folder}: {error.strerror}") from error
    return secret_path, public_path


def _read(path: Path, *, secret: bool = False) -> dict[str, bytes]:
    """The keys in a file by kind, `public` and maybe `secret`; `secret`: it must be its owner's alone."""
    try:
        with path.open("rb") as file:
            if secret:
                check_owner_only(file, path, "key")
            text = file.read(_MAX_BYTES)
    except OSError as error:
        raise OptionError(f"key: cannot read {path}: {error.strerror}") from error
    found = {kind.decode(): key for kind, key in _LINE.findall(text)}
    if "public" not in found or not all(map(_is_key, found.values())):
        raise OptionError(f"key: got {path}, which holds no CURVE key, expected a file of `usert keys make`")
    return found


def _is_key(text: bytes) -> bool:
    try:
        return len(z85.decode(text)) == 32
    except (KeyError, struct.error):
        return False


def check_owner_only(file: IO[bytes], path: Path, name: str) -> None:
    """Check that nobody but its owner may read the open `file`; `name`: how errors call it. Errors: `OptionError`."""
    if os.name == "posix" and os.fstat(file.fileno()).st_mode & _WIDER_THAN_OWNER:
        raise OptionError(f"{name}: {path} is a secret that others may read: chmod 600 it")


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file beside `path` and rename it: it is never there in part, and never readable by others."""
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(part, mode)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
