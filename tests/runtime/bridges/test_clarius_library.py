"""The maker's module: not there, not loadable, of another interface, older, and not willing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clarius_ends import CAST, clarius_config, subscriber
from clarius_probe import ClariusProbe
from live import running

from usert.errors import MissingExtraError, OptionError
from usert.runtime.bridges.clarius_source import ClariusSource


@pytest.fixture
def probe() -> Iterator[ClariusProbe]:
    with ClariusProbe() as made:
        yield made


def test_without_the_makers_module_one_line_tells_what_to_do(probe: ClariusProbe, tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=f"got none in {tmp_path}, .*releases, unpack it, .* --cast"):
        ClariusSource(clarius_config(probe, cast=tmp_path))
    with pytest.raises(MissingExtraError, match="got none where Python looks for modules"):
        ClariusSource(clarius_config(probe, cast=None))


def test_a_module_that_cannot_be_used_is_told_of(probe: ClariusProbe, tmp_path: Path) -> None:
    module = tmp_path / "pyclariuscast.py"
    module.write_text("import no_such_library_of_the_maker")
    with pytest.raises(OptionError, match=r"--cast: got .*pyclariuscast.py, which cannot be loaded"):
        ClariusSource(clarius_config(probe, cast=tmp_path))
    module.write_text("Caster = lambda processed: None")
    with (
        pytest.raises(OptionError, match=r"got another interface .*five or six callbacks"),
        running(ClariusSource(clarius_config(probe, cast=tmp_path))),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="libcast.so is that of Linux")
def test_the_library_beside_the_module_is_loaded_before_it(probe: ClariusProbe, tmp_path: Path) -> None:
    shutil.copy(CAST / "pyclariuscast.py", tmp_path)
    (tmp_path / "libcast.so").write_text("damaged")
    with pytest.raises(OptionError, match=r"cannot be loaded \(.*libcast\.so: .*\): take the package"):
        ClariusSource(clarius_config(probe, cast=tmp_path))


def test_an_older_package_takes_five_callbacks(probe: ClariusProbe, tmp_path: Path) -> None:
    shutil.copy(CAST / "pyclariuscast.py", tmp_path / "newer.py")
    (tmp_path / "pyclariuscast.py").write_text(
        "import importlib.util, pathlib\n"
        "spec = importlib.util.spec_from_file_location('newer', pathlib.Path(__file__).with_name('newer.py'))\n"
        "newer = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(newer)\n"
        "class Caster(newer.Caster):\n"
        "    def __init__(self, processed, raw, spectrum, freeze, buttons):\n"
        "        super().__init__(processed, raw, spectrum, None, freeze, buttons)\n"
    )
    with running(ClariusSource(clarius_config(probe, cast=tmp_path))) as source, subscriber(source) as heard:
        probe.accept().rf(np.ones((64, 8), np.int16))
        heard.next()


def test_a_module_that_does_not_initialise_is_told_of(probe: ClariusProbe, tmp_path: Path) -> None:
    (tmp_path / "pyclariuscast.py").write_text(
        "class Caster:\n"
        "    def __init__(self, a, b, c, d, e, f): pass\n"
        "    def init(self, path, width, height): return False\n"
        "    def destroy(self): pass\n"
    )
    with (
        pytest.raises(OptionError, match="got a failure to initialise"),
        running(ClariusSource(clarius_config(probe, cast=tmp_path))),
    ):
        pass
