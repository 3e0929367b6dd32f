"""Bundles: what is written is read, and what is not understood is refused by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_bundle import CONTENT, PLAN, SPEED, manifest

import usert.bundle.folder as bundle_module
from usert.bundle import Bundle, default_bundle_path, packaged_bundles, sha256_of, write_bundle
from usert.bundle.card import bundle_card
from usert.errors import BundleError


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "scratch"
    folder.mkdir()
    for name, data in CONTENT.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in CONTENT]


@pytest.fixture
def folder(tmp_path: Path, sources: list[Path]) -> Path:
    return write_bundle(tmp_path / "bundle", manifest(), sources).folder


def test_what_is_written_is_read(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert bundle.manifest == manifest()
    assert bundle.sha256 == sha256_of(folder / "manifest.json")
    assert sorted(path.name for path in folder.iterdir()) == sorted([*CONTENT, "manifest.json"])


def test_card_says_what_a_person_asks(folder: Path) -> None:
    card = bundle_card(Bundle.load(folder))
    for text in (
        "liteflownet",
        "5,379,857",
        "strain.onnx, any shape, float32",
        "strain_8x4_int8.onnx, 8 x 4, int8",
        "displacement within 0.00025 samples (0.001), rms 1e-05",
        "97 ms a pair of 8 x 4 by onnxruntime 1.32.0 on the CPU, 2 threads",
        "strain_8x4.tensorrt.plan, 8 x 4",
        "tensorrt 10.13.0 for NVIDIA H200 (sm_90), built in 32 s",
        "not run: no GPU where it was built",
        "65 samples",
    ):
        assert text in card
    ran = replace(PLAN, gpu=None, most=(64, 32), accuracy={"snre_difference": 0.5}, speed=SPEED)
    card = bundle_card(replace(Bundle.load(folder), manifest=manifest(plans=(ran,))))
    assert "8 x 4 to 64 x 32 in steps of 32" in card
    assert "for GPUs of its own choice" in card
    assert "SNRe 0.5" in card


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b"NaN", b"[" * 100_000])
def test_manifest_that_is_no_json_is_one_line(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(BundleError, match=r"manifest.json: (not valid|got JSON)") as caught:
        Bundle.load(folder)
    assert str(caught.value).startswith(f"bundle {folder}: manifest.json: ")


def test_missing_things_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere: .*`usert export`"):
        Bundle.load(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.load(tmp_path)
    (folder / "strain.onnx").unlink()
    with pytest.raises(BundleError, match=r"strain\.onnx"):
        Bundle.load(folder, verify=False)


@pytest.mark.parametrize("name", list(CONTENT))
def test_damaged_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(CONTENT[name][:-1] + b"!")
    with pytest.raises(BundleError, match=f"{name} .*sha256"):
        Bundle.load(folder)
    Bundle.load(folder, verify=False)


def test_model_card_travels_along(tmp_path: Path, sources: list[Path]) -> None:
    card = tmp_path / "model_card.md"
    card.write_text("what it is")
    weights = replace(manifest().weights, model_card=card.name)
    bundle = write_bundle(tmp_path / "bundle", manifest(weights=weights), [*sources, card])
    assert (bundle.folder / card.name).read_text() == "what it is"


def test_new_bundle_replaces_the_old_as_a_whole(folder: Path, sources: list[Path], tmp_path: Path) -> None:
    newer = manifest(graphs=manifest().graphs[:1], plans=(), opset=21)
    write_bundle(folder, newer, sources[:2])
    assert Bundle.load(folder).manifest == newer
    assert not (folder / "strain_8x4.onnx").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "scratch"]


def test_link_to_a_bundle_stays_a_link(folder: Path, sources: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(folder)
    write_bundle(link, manifest(opset=21), sources)
    assert link.is_symlink()
    assert Bundle.load(folder).manifest.opset == 21


@pytest.mark.parametrize("failure", ["hash", "missing source", "rename"])
def test_old_bundle_stays_if_anything_fails(
    folder: Path, sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    if failure == "hash":
        sources[1].write_bytes(b"other")
    elif failure == "missing source":
        sources[1].unlink()
    else:
        rename = Path.rename

        def refuse(self: Path, target: Path) -> Path:
            if self.suffix == ".part":
                raise PermissionError(13, "Permission denied")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(BundleError):
        write_bundle(folder, manifest(opset=21), sources)
    monkeypatch.undo()
    assert Bundle.load(folder).manifest == manifest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "scratch"]


def test_folder_of_other_things_is_not_replaced(tmp_path: Path, sources: list[Path]) -> None:
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.txt").write_text("one")
    with pytest.raises(BundleError, match="thesis"):
        write_bundle(precious, manifest(), sources)
    assert (precious / "chapter.txt").read_text() == "one"
    (precious / "chapter.txt").unlink()
    assert write_bundle(precious, manifest(), sources).manifest == manifest()


def test_files_must_be_those_of_the_manifest(tmp_path: Path, sources: list[Path]) -> None:
    with pytest.raises(ValueError, match=r"expected \["):
        write_bundle(tmp_path / "bundle", manifest(), sources[:2])


def test_default_bundle_that_is_missing_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(bundle_module, "__file__", str(tmp_path / "usert" / "bundle" / "folder.py"))
    with pytest.raises(BundleError, match=r"bundle default: missing.*: reinstall usert, .*--bundle"):
        default_bundle_path()
    (tmp_path / "usert" / "bundles").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "usert" / "bundles" / "default")
    assert default_bundle_path() == tmp_path / "usert" / "bundles" / "default"


def test_a_name_is_that_of_a_bundle_of_the_package_unless_there_is_such_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(packaged_bundles()) == ["default", "small"]
    for name, packaged in packaged_bundles().items():
        assert Bundle.load(name, verify=False).folder == packaged
    assert Bundle.load("default", verify=False).folder == default_bundle_path()
    with pytest.raises(BundleError, match=r"^bundle smal: no such folder; .*the package: default, small$"):
        Bundle.load("smal")
    shutil.copytree(folder, "small")
    assert Bundle.load("small").manifest == manifest()


def test_importing_the_contract_loads_no_library() -> None:
    code = "import sys, usert.bundle.folder; sys.exit(any(m in sys.modules for m in ('torch', 'onnx', 'onnxruntime')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
