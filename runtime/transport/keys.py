"""CURVE keys in files: who a server is, who a client is, and whom a server lets in.

Knows files, not sockets' lives. Invariant: a secret key is in no file that anybody but its owner may read, neither
while it is written nor when it is used.

The format is ZeroMQ's certificate, which czmq and `zmq.auth` read and write, too: lines of text, in them
`public-key = "…"` and in a secret file `secret-key = "…"`, each 40 characters of Z85 (ZeroMQ RFC 32).
"""

from __future__ import annotations

import os
import re
import struct
import tempfile
from collections.abc import Callable
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
        """From a secret file. Errors: `OptionError`, also when others may read it."""
        found = _read(path, _owner_only)
        if "secret" not in found:
            raise OptionError(f"key: got {path}, without a secret key, expected a NAME{SECRET} file")
        if zmq.curve_public(found["secret"]) != found["public"]:
            raise OptionError(f"key: {path}: its public and its secret key are not a pair; make another")
        return cls(public=found["public"], secret=found["secret"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKeys:
    """What a socket that binds shows, and whom it lets in."""

    pair: KeyPair
    allowed: Path
    """Folder of public keys: a client is let in while its file lies there."""

    @classmethod
    def load(cls, key: Path, allowed: Path) -> Self:
        """From the server's own secret file and the folder. Errors: `OptionError`."""
        public_keys(allowed)  # a server that would let in fewer than it was told does not start
        if os.name == "posix" and allowed.stat().st_mode & _WRITABLE_BY_ALL:
            raise OptionError(f"keys: anybody may write into {allowed} and so let himself in: chmod o-w it")
        return cls(pair=KeyPair.load(key), allowed=allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKeys:
    """What a socket that connects shows, and the one server that it talks to."""

    pair: KeyPair
    server: bytes
    """The public key of the server."""

    @classmethod
    def load(cls, key: Path, server: Path) -> Self:
        """From the client's own secret file and the server's public one. Errors: `OptionError`."""
        return cls(pair=KeyPair.load(key), server=load_public(server))

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Make `socket` encrypt, show its key, and talk to that server alone; before it connects."""
        socket.curve_publickey = self.pair.public
        socket.curve_secretkey = self.pair.secret
        socket.curve_serverkey = self.server


Keys = ServerKeys | ClientKeys


def load_public(path: Path) -> bytes:
    """The key in a public file. Errors: `OptionError`, also for a secret file, which is not to be handed out."""
    found = _read(path)
    if "secret" in found:
        raise OptionError(f"key: got {path}, which holds a secret, expected the NAME{PUBLIC} file beside it")
    return found["public"]


def key_files(folder: Path) -> list[Path]:
    """The public files in `folder`, by name. Errors: `OptionError` without such a folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == PUBLIC and path.is_file())
    except OSError as error:
        raise OptionError(f"keys: cannot read folder {folder}: {error.strerror}") from error


def public_keys(folder: Path) -> dict[str, bytes]:
    """Name and key of every public file in `folder`. Errors: `OptionError` at the first that is none."""
    return {path.stem: load_public(path) for path in key_files(folder)}


def make_keys(name: str, folder: Path, *, force: bool = False) -> tuple[Path, Path]:
    """A new pair: the paths of its secret and its public file. `force`: instead of one of that name."""
    if not _NAME.fullmatch(name):
        raise OptionError(f"name: got {name!r}, expected 1 to 64 of A-Z a-z 0-9 . _ -, . _ - not first")
    secret_path, public_path = folder / (name + SECRET), folder / (name + PUBLIC)
    for path in () if force else (secret_path, public_path):
        if path.exists():
            raise OptionError(f"keys: {path} is there already: take another name, or --force to lose it")
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


def _read(path: Path, check: Callable[[Path, IO[bytes]], None] | None = None) -> dict[str, bytes]:
    """The keys in a file by their kind; there is a public one."""
    try:
        with path.open("rb") as file:
            if check is not None:
                check(path, file)
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


def _owner_only(path: Path, file: IO[bytes]) -> None:
    if os.name == "posix" and os.fstat(file.fileno()).st_mode & _WIDER_THAN_OWNER:
        raise OptionError(f"key: {path} is a secret that others may read: chmod 600 it")


def _write(path: Path, text: str, mode: int) -> None:
    """Beside, then renamed: the file is there whole or not at all, and nobody else's from its first byte."""
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(part, mode)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
