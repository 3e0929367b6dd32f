"""`usert serve --config`: every option from a file, the command line over it, and what is refused by name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import typer
from server_process import ended
from typer.testing import CliRunner

from usert.bundle import Bundle, packaged_bundles
from usert.cli import app
from usert.commands.config_file import config_reader
from usert.commands.serve import ONE_START
from usert.errors import OptionError

ENDPOINTS = 'rf = "tcp://127.0.0.1:5555"\npublish = "tcp://127.0.0.1:5556"\n'
PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
SERVE: Any = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]


def parsed(command: Any, file: Path, *words: str) -> dict[str, Any]:
    """The parameters that `command --config file words` would run with."""
    values: dict[str, Any] = command.make_context("serve", ["--config", str(file), *words]).params
    return values


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "site.toml"


@pytest.fixture(scope="module")
def command() -> Any:
    """One with an option of every kind."""
    made = typer.Typer()
    read = config_reader()

    @made.command()
    def all_kinds(
        config: Path | None = typer.Option(None, "--config", is_eager=True, callback=read),
        word: str = typer.Option(...),
        count: int = typer.Option(1, min=1),
        share: float = typer.Option(0.0, max=1.0),
        switch_on: bool = typer.Option(False, "--switch-on"),
        place: Path | None = typer.Option(None),
        words: list[str] = typer.Option(["none"]),
        places: list[Path] = typer.Option([]),
    ) -> None:
        pass

    return typer.main.get_command(made)


def test_a_file_gives_every_kind_of_option(command: Any, file: Path) -> None:
    file.write_text(
        'word = "a"\ncount = 2\nshare = 1\nswitch_on = true\nplace = "keys"\nwords = ["b", "c"]\n'
        f'places = ["d", "{file.parent / "e"}"]\n'
    )
    values = parsed(command, file)
    assert values == {
        "config": file,
        "word": "a",
        "count": 2,
        "share": 1.0,
        "switch_on": True,
        "place": file.parent / "keys",
        "words": ["b", "c"],
        "places": [file.parent / "d", file.parent / "e"],
    }


def test_the_command_line_wins(command: Any, file: Path) -> None:
    file.write_text('word = "a"\ncount = 2\nplace = "keys"\nwords = ["b", "c"]\n')
    values = parsed(command, file, "--word", "z", "--place", "here", "--words", "y")
    assert (values["word"], values["place"], values["words"]) == ("z", Path("here"), ["y"])
    assert values["count"] == 2


def test_once_is_enough_for_what_may_be_repeated(command: Any, file: Path) -> None:
    file.write_text('word = 3\nwords = "b"\n')
    values = parsed(command, file)
    assert (values["word"], values["words"]) == ("3", ["b"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('wrd = "a"', "unknown key 'wrd', expected word"),
        ("switch-on = true", "unknown key 'switch-on', expected switch_on"),
        ("zzz = 1", "unknown key 'zzz', expected word, count, share"),
        ('config = "other.toml"', "unknown key 'config'"),
        ("help = true", "unknown key 'help'"),
        ("[word]", "got a table [word], expected plain keys only"),
        ("word = true", "word: got True, expected a string"),
        ('word = ["a"]', "word: got ['a'], expected a string"),
        ('count = "two"', "count: got 'two', expected a whole number"),
        ("count = 1.0", "count: got 1.0, expected a whole number"),
        ("count = true", "count: got True, expected a whole number"),
        ("count = 0", "count: "),
        ('share = "half"', "share: got 'half', expected a number"),
        ("switch_on = 1", "switch_on: got 1, expected true or false"),
        ("place = 1", "place: got 1, expected a path"),
        ('place = ""', "place: got '', expected a path"),
        ("words = [1, true]", "words: got True, expected a string"),
        ("word", "not valid TOML"),
        ("word = 1\nword = 2", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_key_and_what_was_expected(
    command: Any, file: Path, line: str, message: str
) -> None:
    file.write_text(line)
    with pytest.raises(OptionError) as caught:
        parsed(command, file)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_line(command: Any, file: Path) -> None:
    with pytest.raises(OptionError, match=f"^{file}: .*: No such"):
        parsed(command, file)
    with pytest.raises(OptionError, match=f"^{file.parent}: .*: Is a directory"):
        parsed(command, file.parent)
    file.write_bytes(b'word = "\xff"')
    with pytest.raises(OptionError, match="not valid TOML: 'utf-8'"):
        parsed(command, file)


def sample(kind: Any) -> str:
    """A value that an option of `kind` takes, as TOML has it."""
    parts = [part for part in get_args(kind) if part is not NoneType]
    if get_origin(kind) in (list, tuple):
        return f"[{', '.join(sample(part) for part in parts)}]"
    plain = {bool: "true", int: "3", float: "0.5"}
    return sample(parts[0]) if parts else plain.get(kind, '"x"')


def test_every_option_of_serve_but_those_of_one_start_is_a_key(file: Path) -> None:
    kinds = get_type_hints(SERVE.callback)
    options = {
        option.opts[0].removeprefix("--").replace("-", "_"): option
        for option in SERVE.params
        if option.name in kinds and option.name not in ONE_START
    }
    assert {"rf", "publish", "rf_bind", "threads", "record", "insecure"} <= set(options)
    assert not {"config", "check", "help"} & set(options)
    file.write_text("".join(f"{key} = {sample(kinds[option.name])}\n" for key, option in options.items()))
    values = parsed(SERVE, file)
    assert all(values[option.name] for option in options.values())
    assert values["record"] == file.parent / "x"


def test_what_must_be_given_may_come_from_the_file_and_is_missed_elsewhere(file: Path) -> None:
    file.write_text(ENDPOINTS)
    assert parsed(SERVE, file)["publish"] == "tcp://127.0.0.1:5556"
    file.write_text('rf = "tcp://127.0.0.1:5555"\n')
    with pytest.raises(Exception, match="publish") as caught:
        parsed(SERVE, file)
    assert getattr(caught.value, "exit_code", None) == 2


@pytest.mark.parametrize("block", BLOCKS)
def test_the_configuration_in_the_documentation_is_one(block: str, file: Path) -> None:
    file.write_text(block)
    assert parsed(SERVE, file)["rf"]


def test_the_command_lines_in_the_documentation_name_options_that_exist() -> None:
    known = {flag for option in SERVE.params for flag in option.opts}
    shown = re.findall(r"^(?:ExecStart=\S*/| .*)?usert serve (.*)$", PAGE, flags=re.MULTILINE)
    assert len(shown) >= 5
    assert {word for line in shown for word in line.split() if word.startswith("--")} <= known


@pytest.mark.parametrize("name", packaged_bundles())
def test_a_bundle_of_the_package_is_named_in_a_file_unless_there_is_such_a_folder(
    name: str, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere" / name).mkdir(
        parents=True
    )  # a folder of the place that it starts in is not meant
    monkeypatch.chdir(tmp_path / "elsewhere")
    file.write_text(ENDPOINTS + f'bundle = "{name}"\n')
    assert parsed(SERVE, file)["bundle"] == packaged_bundles()[name]
    (file.parent / name).mkdir()
    assert parsed(SERVE, file)["bundle"] == file.parent / name


def test_a_server_starts_from_a_file_alone(bundle: Bundle, file: Path) -> None:
    (file.parent / "tiny").symlink_to(bundle.folder.resolve())
    file.write_text(
        'rf = "tcp://127.0.0.1:0"\nrf_bind = true\npublish = "tcp://127.0.0.1:0"\nbundle = "tiny"\n'
        'engine = "onnxruntime"\nthreads = 1\nlag = 2\n'
    )
    code, out, errors = ended("--config", file, "--check")
    assert (code, errors) == (0, "")
    assert f"check: configuration {file}\n" in out
    assert "check: rf on tcp://127.0.0.1:" in out
    file.write_text(ENDPOINTS + 'bundel = "tiny"\n')
    code, out, errors = ended("--config", file)
    assert (code, out, errors) == (1, "", f"usert: {file}: unknown key 'bundel', expected bundle\n")


def test_a_folder_of_records_that_takes_no_files_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path or not mode & os.W_OK)
    words = ["serve", "--rf", "tcp://127.0.0.1:5555", "--publish", "tcp://127.0.0.1:0"]
    error = CliRunner().invoke(app, [*words, "--record-folder", str(tmp_path)]).exception
    assert isinstance(error, OptionError)
    assert f"--record-folder: got {tmp_path}, but folder {tmp_path} cannot be written to" in str(error)
