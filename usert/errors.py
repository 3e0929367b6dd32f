"""Every error a user can cause, as one tree.

    UsertError                 one line on stderr, exit code FAULT
    ├── FrameError             samples or geometry that cannot be a frame, or a pair
    ├── RecordingError         a recording that is missing, broken or not ours
    ├── FormatError            a foreign file that is not what it was said to be
    ├── BundleError            a bundle that is missing, damaged or of an unknown format
    ├── WeightsError           network weights that do not fit
    ├── RecipeError            a recipe with an unknown key or an impossible value
    ├── WireError              a message that breaks the protocol
    ├── EngineError            an engine that cannot be opened or does not answer
    ├── ControlError           a live server that refuses a command or does not answer
    ├── OptionError            a value that makes no sense, on the command line or in a configuration
    └── MissingExtraError      an optional package that is not installed

A message says what, got, expected and remedy, in one line. Mistakes of a programmer raise `ValueError`
instead; `assert` is never used for input.

How a process ends is for whoever watches over it (`docs/operations.md`):

    0      done, with a warning where input was left out; what runs until it is stopped: stopped by a signal
    1      FAULT: a person must mend something, and to start it again does not help; or a comparison failed
    2      click's: the command line is not understood
    70     BUG: an error that nobody foresaw, with a traceback; to start it again may help
    130    stopped by a signal before it was done; 130 and 143 also at once, by a second signal (`usert.signals`)
"""

from __future__ import annotations

import importlib
import re
from types import ModuleType

FAULT = 1
BUG = 70
"""EX_SOFTWARE of sysexits.h, which `os` has on Unix only."""


_LONGEST_LINE = 1000


class UsertError(Exception):
    """The base of all errors that a user can cause and mend; `str()` of one is the line to show.

    A terminal can show that line, whatever it quotes of a damaged file: characters that cannot be printed are replaced,
    and the middle of a long line is left out.
    """

    def __str__(self) -> str:
        text = re.sub(r"[ \t\r\n]+", " ", super().__str__())
        if len(text) > _LONGEST_LINE:
            text = f"{text[: _LONGEST_LINE // 2]} … {text[-_LONGEST_LINE // 2 :]}"
        return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


class FrameError(UsertError):
    """Samples or geometry that cannot be a frame, or two frames that cannot be a pair."""


class RecordingError(UsertError):
    """A recording that is missing, broken or not ours."""


class FormatError(UsertError):
    """A foreign file that is not what it was said to be."""


class BundleError(UsertError):
    """A bundle that is missing, damaged or of an unknown format."""


class WeightsError(UsertError):
    """Network weights that do not fit the network."""


class RecipeError(UsertError):
    """A recipe with an unknown key or an impossible value."""


class WireError(UsertError):
    """A message that breaks the protocol."""


class EngineError(UsertError):
    """An engine that cannot be opened or does not answer."""


class ControlError(UsertError):
    """A live server that refuses a command or does not answer."""


class OptionError(UsertError):
    """A value that makes no sense, on the command line or in a configuration."""


class MissingExtraError(UsertError):
    """An optional package that is not installed."""


def expect(
    holds: bool, what: str, got: object, expected: str, *, error: type[UsertError] = OptionError
) -> None:
    """Raise `error` unless `holds`: the value `got` of `what` is not as `expected`."""
    if not holds:
        raise error(f"{what}: got {got}, expected {expected}")


def require(module: str, extra: str) -> ModuleType:
    """Import the optional package `module`. Errors: `MissingExtraError` that names the `extra` of usert to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == module.split(".")[0]:
            raise MissingExtraError(f"{module} is not installed: pip install 'usert[{extra}]'") from error
        raise
