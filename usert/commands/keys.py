"""`usert keys`, and the key options of other commands.

A socket that binds needs other keys than one that connects. Invariant: half of the options is an error, never a socket
without keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from usert.commands.option import option, switch
from usert.errors import OptionError

if TYPE_CHECKING:
    from usert.runtime.transport.keys import ClientKeys, Keys, ServerKeys

KEY_HELP = "Secret key of this side, made by `usert keys make`; encrypts the stream."
ALLOW_HELP = "Folder of the public keys that may connect; delete a file to revoke its key."
SERVER_KEY_HELP = "Public key of the server; no other is accepted."

keys = typer.Typer(help="Keys for streams that leave this machine.", no_args_is_help=True)


@keys.command("make")
def make(
    name: str = typer.Argument(..., metavar="NAME", help="Whose key, such as or2-display."),
    out: Path = option(..., "DIR", "Folder for NAME.key and NAME.key_secret."),
    force: bool = switch("--force", "Replace the pair of that name."),
) -> None:
    """Make a key pair: the secret key stays on its machine, the public one goes to the other side."""
    from usert.runtime.transport.keys import make_keys

    secret, public = make_keys(name, out, force=force)
    typer.echo(f"keys: secret {secret}")
    typer.echo(f"keys: public {public}")


@keys.command("list")
def list_(folder: Path = typer.Argument(..., metavar="DIR", help="Folder of public keys.")) -> None:
    """List names and public keys of a folder."""
    from usert.runtime.transport.keys import public_keys

    for name, key in public_keys(folder).items():
        typer.echo(f"{name}  {key.decode()}")


def server_keys(
    key: Path | None, allow: Path | None, *, option: str = "--allow", own: str = "--key"
) -> ServerKeys | None:
    """Keys of a socket that binds, from `own` and `option`; None if neither was given. Errors: `OptionError`."""
    from usert.runtime.transport.keys import ServerKeys

    pair = _both(key, allow, own, option)
    return None if pair is None else ServerKeys.load(*pair)


def client_keys(
    key: Path | None, server: Path | None, *, option: str = "--server-key", own: str = "--key"
) -> ClientKeys | None:
    """Keys of a socket that connects, from `own` and `option`; None if neither was given. Errors: `OptionError`."""
    from usert.runtime.transport.keys import ClientKeys

    pair = _both(key, server, own, option)
    return None if pair is None else ClientKeys.load(*pair)


def source_keys(
    *,
    binds: bool,
    key: Path | None,
    allow: Path | None,
    server: Path | None,
    options: tuple[str, str] = ("--allow", "--server-key"),
    own: str = "--key",
) -> Keys | None:
    """Keys of a socket that binds or connects; None if none were given.

    `options`: how errors name `allow` and `server`; `own`: how they name `key`. Errors: `OptionError`.
    """
    if binds:
        _refuse(server, options[1], f"binds, expected {options[0]}")
        return server_keys(key, allow, option=options[0], own=own)
    _refuse(allow, options[0], f"connects, expected {options[1]}")
    return client_keys(key, server, option=options[1], own=own)


def _both(key: Path | None, other: Path | None, own: str, option: str) -> tuple[Path, Path] | None:
    if key is not None and other is not None:
        return key, other
    if key is None and other is None:
        return None
    got = own if other is None else option
    raise OptionError(f"keys: got {got} alone, expected {own} and {option}, or neither")


def _refuse(value: Path | None, option: str, instead: str) -> None:
    if value is not None:
        raise OptionError(f"{option}: got {value} for a socket that {instead}")
