"""The page of all commands and options, written from the commands themselves.

Knows `usert.cli.app` and nothing of what its commands do. Invariant: the page says what `--help` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from usert.cli import app

PAGE = "cli.md"
HEAD = """# Command line

What `usert COMMAND --help` says, in one page. How a command ends, by exit codes: [operations](operations.md).
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs."""
    files.append(File.generated(config, PAGE, content=reference()))
    return files


def reference() -> str:
    """The page, in Markdown."""
    return "\n".join([HEAD, *_command("usert", typer.main.get_command(app))])


def _command(name: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        if name != "usert":
            yield f"## {name}\n\n{command.help}\n"
        for word in sorted(command.commands):
            yield from _command(f"{name} {word}", command.commands[word])
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    yield f"{'#' * len(name.split())} {name}\n"
    words = [name, *(_argument(p) for p in arguments), *(_option(p) for p in options if p.required)]
    yield f"```sh\n{' '.join(words)}{' [OPTIONS]' if options else ''}\n```\n"
    yield f"{command.help}\n"
    if arguments:
        yield "| argument | |\n|---|---|"
        yield from (f"| `{_argument(p)}` | {_cell(p.help or '')} |" for p in arguments)
        yield ""
    if options:
        yield "| option | | default |\n|---|---|---|"
        yield from (f"| `{_option(p)}` | {_cell(p.help or '')} | {_default(p)} |" for p in options)
        yield ""


def _argument(parameter: Any) -> str:
    text = parameter.metavar or parameter.name.upper() + ("…" if parameter.nargs == -1 else "")
    return text if parameter.required else f"[{text}]"


def _option(parameter: Any) -> str:
    names = " / ".join((*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} {parameter.metavar or parameter.name.upper()}"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.is_flag:
        return f"`{parameter.opts[0]}`" if parameter.default and parameter.secondary_opts else ""
    return "" if parameter.default in (None, [], ()) else f"`{parameter.default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
