"""The command line as a user meets it: help, version, errors in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from usert.cli import main

COMMANDS = (
    "bench",
    "check-sender",
    "control",
    "demo",
    "export",
    "import",
    "info",
    "keys",
    "pretrain",
    "replay",
    "rerun",
    "run",
    "serve",
    "simulate",
    "status",
    "view",
    "watch",
)


def usert(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "usert", *words], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_help_lists_every_command() -> None:
    done = usert("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["usert", command, "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert re.search(rf"Usage: .*\b{command}\b", capsys.readouterr().out)


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_a_full_disk_beneath_the_output_is_one_line(word: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "usert", word], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == (
        "usert: the output: cannot be written: No space left on device: make room, or write elsewhere\n"
    )


def test_version() -> None:
    done = usert("--version")
    assert done.stdout.startswith("usert 0.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "absent.h5", "--out", "out.h5"), "absent.h5"),
        (("info", "absent.h5"), "absent.h5"),
        (("info", f"{'n' * 300}.h5"), "cannot be used: File name too long: name another"),
        (("simulate", "--out", f"{'n' * 300}.h5"), "cannot be used: File name too long: name another"),
        (("export", "--weights", "absent", "--out", "n" * 300), "cannot be used: File name too long"),
        (("export", "--weights", "absent", "--out", "b", "--no-any-shape", "--shape", "128x64"), "absent"),
        (("export", "--weights", "absent", "--out", "b", "--shape", "sixty"), "'sixty'"),
        (
            ("export", "--weights", "absent", "--out", "/dev/null", "--shape", "128x64"),
            "bundle /dev/null: holds something that is not a bundle; name another folder",
        ),
        (("train", "absent.h5", "--out", "/dev/null"), "--out: got /dev/null, a file, expected a folder"),
        (("train", "absent.h5", "--out", "/dev/null/run"), "got /dev/null/run, but /dev/null is no folder"),
        (("pretrain", "--out", "/dev/null/run"), "got /dev/null/run, but /dev/null is no folder"),
        (
            ("export", "--weights", "absent", "--out", "/dev/null/b"),
            "/dev/null/b, but /dev/null is no folder",
        ),
        (("eval", "absent.h5", "--out", "nowhere/r.html"), "nowhere/r.html, but there is no folder nowhere"),
        (("eval", "absent.h5", "--out", "r.html", "--json", "/dev/null"), "/dev/null, a device or a pipe"),
        (("bench", "--json", "nowhere/a.json"), "nowhere/a.json, but there is no folder nowhere"),
        (("export", "--verify", "absent"), "absent"),
        (
            ("export", "--verify", "b", "--out", "c"),
            "--verify: got --weights, --network or --out, too, expected none",
        ),
        (
            ("export", "--out", "b"),
            "got no --weights or --network, or no --out, expected both, or --verify BUNDLE",
        ),
        (("export", "--network", "small"), "got no --weights or --network, or no --out"),
        (
            ("export", "--network", "smal", "--out", "b"),
            "--network: got 'smal', expected one of default, small",
        ),
        (
            ("export", "--network", "small", "--weights", "absent", "--out", "b"),
            "--network: got --weights, too, expected one of them",
        ),
        (("run", "absent.h5", "--out", "out.h5", "--bundle", "smal"), "absent.h5"),
        (("info", "smal"), "smal"),
        (
            ("export", "--weights", "absent", "--out", "b", "--refinement", "much"),
            "--refinement: got 'much', expected off, cheap, full",
        ),
        (("replay", "absent.h5", "--publish", "tcp://127.0.0.1:0"), "absent.h5"),
        (("pretrain", "--recipe", "absent.toml", "--out", "run"), "absent.toml"),
    ],
)
def test_an_error_is_one_line_and_leaves_nothing(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["usert", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capfd.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("usert: ")
    assert said.count("\n") == 1
    assert message in said
    assert not list(tmp_path.iterdir())


def test_the_process_ends_with_that_line_and_code(tmp_path: Path) -> None:
    done = usert("run", "absent.h5", "--out", "out.h5", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("usert: absent.h5: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
