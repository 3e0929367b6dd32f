"""The `usert` command: one table of sub-commands, and the one place where an error becomes a line.

Each sub-command is a function in `usert/commands/`, which parses, imports its stage inside, calls and prints.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback

import typer

from . import __version__
from .commands.bench import bench
from .commands.bridge import bridge
from .commands.check_sender import check_sender
from .commands.control import control
from .commands.demo import demo
from .commands.eval import evaluation
from .commands.export import export
from .commands.import_ import import_frames
from .commands.info import info
from .commands.keys import keys
from .commands.pretrain import pretrain
from .commands.replay import replay
from .commands.rerun import rerun
from .commands.run import run
from .commands.serve import serve
from .commands.simulate import simulate
from .commands.status import status
from .commands.train import train
from .commands.view import view
from .commands.watch import watch
from .errors import BUG, FAULT, UsertError

app = typer.Typer(
    name="usert",
    help="Real-time strain images from live ultrasound RF frames.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"usert {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options that come before a sub-command."""


app.command("export")(export)
app.command("import")(import_frames)
app.command("info")(info)
app.command("run")(run)
app.command("rerun")(rerun)
app.command("pretrain")(pretrain)
app.command("train")(train)
app.command("serve")(serve)
app.command("watch")(watch)
app.command("view")(view)
app.command("status")(status)
app.command("replay")(replay)
app.command("check-sender")(check_sender)
app.command("simulate")(simulate)
app.command("bench")(bench)
app.command("eval")(evaluation)
app.command("demo")(demo)
app.add_typer(bridge, name="bridge")
app.add_typer(control, name="control")
app.add_typer(keys, name="keys")


def main() -> None:
    """Run the command line of this process; `usert.errors` lists the exit codes."""
    try:
        app()
    except UsertError as error:
        print(f"usert: {error}", file=sys.stderr)
        sys.exit(FAULT)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        if isinstance(error, OSError):
            _end_for_file(error)
        traceback.print_exc()
        told = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"usert: this is a bug: {told}; please report it with the lines above", file=sys.stderr)
        sys.exit(BUG)


def _end_for_file(error: OSError) -> None:
    """End where a file is at fault: its name, who may use it, or its disk, such as that of standard output."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "the output"
        told = f"{where}: cannot be written: {error.strerror}: make room, or write elsewhere"
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python tries once more at its end
    elif error.filename and error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EROFS):
        told = f"{error.filename}: cannot be used: {error.strerror}: name another, or change who may use it"
    else:
        return
    print(f"usert: {told}", file=sys.stderr)
    sys.exit(FAULT)
