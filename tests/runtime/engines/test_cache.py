"""Where compiled engines are kept, on real folders."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from threading import Thread

import pytest
from tiny_bundle import tiny_bundle

from usert.bundle import Bundle
from usert.errors import EngineError
from usert.runtime.engines import cache
from usert.runtime.engines.cache import LEAST_FREE_BYTES, MOST_SIZES, cache_folder, intact

ON = {"device": "NVIDIA H200 (sm_90)", "library": "onnxruntime 1.31.1"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def folder_of(bundle: Bundle, **changed: str) -> Path:
    return cache_folder(bundle, bundle.manifest.graphs[0], **{**ON, **changed})


def test_it_is_there_empty_and_named_after_the_graph(bundle: Bundle, tmp_path: Path) -> None:
    folder = folder_of(bundle)
    assert folder.parent == tmp_path / "cache" / "usert" / "engines"
    assert folder.name.startswith("strain-")
    assert list(folder.iterdir()) == []


def test_without_a_setting_it_is_in_the_home(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder_of(bundle).parent == tmp_path / ".cache" / "usert" / "engines"


def test_one_for_each_graph_weights_device_and_library(bundle: Bundle, tmp_path: Path) -> None:
    manifest = bundle.manifest
    graph = dataclasses.replace(manifest.graphs[0], sha256="1" * 64)
    weights = dataclasses.replace(manifest.weights, sha256="2" * 64)
    retrained = dataclasses.replace(bundle, manifest=dataclasses.replace(manifest, weights=weights))
    folders = [
        folder_of(bundle),
        folder_of(bundle, device="NVIDIA L4 (sm_89)"),
        folder_of(bundle, library="onnxruntime 1.32.0"),
        folder_of(retrained),
        cache_folder(bundle, graph, **ON),
    ]
    assert len(set(folders)) == len(folders)
    assert folder_of(bundle) == folders[0]
    assert folder_of(tiny_bundle(tmp_path / "copy")) == folders[0]


def test_a_folder_that_cannot_be_written_is_one_line(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(
        EngineError,
        match=r"^engine cache .*/file/usert/engines/strain-\w+: .*Not a directory",
    ) as caught:
        folder_of(bundle)
    assert "\n" not in str(caught.value)


def test_no_space_is_one_line(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, LEAST_FREE_BYTES - 1_000_000))
    with pytest.raises(EngineError, match=r"^engine cache .*: got 199 MB.*expected 200 MB"):
        folder_of(bundle)


def test_without_a_home_it_says_what_to_set(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(EngineError, match=r"^engine cache: .*XDG_CACHE_HOME"):
        folder_of(bundle)


def test_what_was_left_is_found_again(tmp_path: Path) -> None:
    with intact(tmp_path):
        (tmp_path / "engine.blob").write_bytes(b"compiled")
    with intact(tmp_path):
        assert (tmp_path / "engine.blob").read_bytes() == b"compiled"
        (tmp_path / "another.blob").write_bytes(b"compiled, too")
    with intact(tmp_path):
        assert (tmp_path / "another.blob").exists()


@pytest.mark.parametrize("damage", [b"compileD", b"comp", b""])
def test_what_was_damaged_is_not(damage: bytes, tmp_path: Path) -> None:
    with intact(tmp_path):
        (tmp_path / "engine.blob").write_bytes(b"compiled")
    (tmp_path / "engine.blob").write_bytes(damage)
    with intact(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_what_was_left_by_a_failure_is_not(tmp_path: Path) -> None:
    with intact(tmp_path):
        (tmp_path / "engine.blob").write_bytes(b"compiled")
    with pytest.raises(ValueError), intact(tmp_path):
        raise ValueError
    with intact(tmp_path):
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "half.blob").write_bytes(b"com")  # as a process leaves it that is killed
    with intact(tmp_path):
        assert (tmp_path / "half.blob").exists() is False


COMES = """
import sys
from pathlib import Path
from usert.bundle import Bundle
from usert.runtime.engines import cache
from usert.runtime.engines.cache import cache_folder, intact

bundle = Bundle.load(Path(sys.argv[1]))
for again in range(int(sys.argv[2])):
    print("comes", flush=True)
    sys.stdin.readline()
    folder = cache_folder(bundle, bundle.manifest.graphs[0], device=f"CPU {again}", library="library")
    with intact(folder):
        found = (folder / "engine.blob").exists()
        if not found:
            (folder / "engine.blob").write_bytes(b"compiled")
    print(found, flush=True)
"""


def coming(bundle: Bundle, times: int) -> subprocess.Popen[str]:
    """A process that asks for the engine of `CPU 0`, then of `CPU 1` …, each time that it is written a line."""
    words = [sys.executable, "-c", COMES, str(bundle.folder), str(times)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_who_comes_while_another_compiles_waits_and_finds_it(bundle: Bundle) -> None:
    """Another process and a thread of this one."""
    folder = cache_folder(bundle, bundle.manifest.graphs[0], device="CPU 0", library="library")
    found: list[bool] = []

    def open_it() -> None:
        with intact(folder):
            found.append((folder / "engine.blob").exists())

    thread = Thread(target=open_it)
    with coming(bundle, 1) as other:
        with intact(folder):
            (folder / "half.blob").write_bytes(b"com")
            assert said(other) == "comes"
            go(other)
            thread.start()
            thread.join(0.5)
            assert found == []
            (folder / "half.blob").rename(folder / "engine.blob")
        assert said(other) == "True"
        thread.join(60)
    assert found == [True]


def test_of_two_that_come_at_once_one_compiles(bundle: Bundle) -> None:
    times = 40
    with coming(bundle, times) as one, coming(bundle, times) as other:
        for _ in range(times):
            assert said(one) == said(other) == "comes"
            go(one)
            go(other)
            assert sorted((said(one), said(other))) == ["False", "True"]


def test_who_holds_it_too_long_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PATIENCE_S", 0.1)
    folder = folder_of(bundle)
    with (
        intact(folder),
        pytest.raises(EngineError, match=r"^engine cache .*: locked by another process"),
        intact(folder),
    ):
        pass


def test_of_many_sizes_those_unused_the_longest_are_evicted(bundle: Bundle) -> None:
    whole = folder_of(bundle)
    folders = [folder_of(bundle, sizes=f"{rows}x128-64") for rows in range(MOST_SIZES)]
    assert len(set(folders)) == MOST_SIZES
    with intact(folders[1]):
        for second, folder in enumerate(folders):
            os.utime(folder, (1e9 + second, 1e9 + second))
        assert folder_of(bundle, sizes="0x128-64") == folders[0]  # used again
        newest = [folder_of(bundle, sizes=f"{rows}x128-64") for rows in (1000, 1001)]
    assert {folder.name for folder in folders if not folder.exists()} == {folders[2].name}
    assert all(folder.exists() for folder in (whole, *newest, folders[1]))
