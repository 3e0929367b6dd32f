"""The maker's Python module of Clarius Cast, as it lies in its package, and the object in it that calls back.

After the maker's public text, github.com/clariusdev/cast: `examples/python/README.md` (where the libraries lie),
`examples/python/pycaster.py` (how they are loaded on Linux, and the six callbacks) and `desktop/src/python/pycaster.py`
(five callbacks, without that of the motion sensor, in older packages). The module is compiled code of theirs: nothing
of it is part of this package.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from usert.errors import MissingExtraError, OptionError

_NAME = "pyclariuscast"
_REMEDY = (
    "take the package of the App's very version for Python "
    f"{sys.version_info.major}.{sys.version_info.minor} from github.com/clariusdev/cast/releases, unpack it, and give "
    "its folder of libraries with --cast"
)


def load_cast(folder: Path | None) -> Any:
    """Import `pyclariuscast` from `folder`, or from where Python looks for modules if there is none.

    Errors: `MissingExtraError` where it is not there; `OptionError` where it cannot be loaded.
    """
    search = None if folder is None else [str(folder)]
    spec = importlib.machinery.PathFinder.find_spec(_NAME, search)
    if spec is None or spec.loader is None:
        where = "where Python looks for modules" if folder is None else f"in {folder}"
        raise MissingExtraError(
            f"{_NAME}, the maker's module of Clarius Cast: got none {where}, expected one: {_REMEDY}"
        )
    try:
        _load_beside(folder if spec.origin is None else Path(spec.origin).parent)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _ = module.Caster
    except (ImportError, OSError, AttributeError) as error:
        raise OptionError(
            f"--cast: got {spec.origin}, which cannot be loaded ({error}): {_REMEDY}"
        ) from error
    return module


def make_caster(
    module: Any,
    *,
    processed: Callable[..., None],
    raw: Callable[..., None],
    other: Callable[..., None],
    freeze: Callable[..., None],
) -> Any:
    """The `Caster` of `module` with these callbacks, `other` for what is not used; older packages take one fewer.

    Errors: `OptionError` where the constructor takes neither.
    """
    for unused in ([other, other], [other]):
        try:
            return module.Caster(processed, raw, *unused, freeze, other)
        except TypeError as error:
            fault = error
    raise OptionError(
        f"{_NAME}.Caster: got another interface ({fault}), expected five or six callbacks, as in the maker's examples: "
        f"{_REMEDY}"
    )


def _load_beside(folder: Path | None) -> None:
    """Load the library that the module is linked to, which the loader does not look for beside the module."""
    if folder is None:
        return
    if sys.platform == "win32":
        os.add_dll_directory(str(folder))
    elif (library := folder / "libcast.so").is_file():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
