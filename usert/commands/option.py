"""How commands declare their options: one with a value, a switch, and a group of options as one parameter.

An option group is a frozen dataclass whose fields are options. They have a panel of their own in the help of each
command that takes the group, with the name of the class as its title.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

import typer


def option(default: Any, metavar: str, text: str, *flags: str, **rules: Any) -> Any:
    """An option with a value, shown as `metavar` and explained by `text` in the help.

    `default`: `...` makes it required. `flags`: by default one of the parameter's name. `rules`: further ones of
    `typer.Option`, such as the least value.
    """
    return typer.Option(default, *flags, metavar=metavar, help=text, **rules)


def switch(flag: str, text: str) -> Any:
    """An option without a value, off by default, explained by `text` in the help."""
    return typer.Option(False, flag, help=text)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Turn `command` into a function for Typer, with the options of each group instead of the group.

    All parameters of `command` are passed by keyword.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _options(groups[parameter.name])
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))

    @wraps(command)
    def flat(**values: Any) -> None:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **made)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


def _options(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group)
    for field in fields(group):
        info: Any = copy(field.default)
        info.rich_help_panel = group.__name__
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=hints[field.name]
        )
