"""A bundle: the folder that export writes and runtime reads.

    manifest.json          the description of the others; see `usert.bundle.manifest`
    weights.safetensors    the weights, once; the graphs refer to it as external data
    strain.onnx            the graph for frames of any shape
    strain_1024x256.onnx   faster graphs for one shape each, as many as were exported
    strain_1024x256_int8.onnx, …_float16.onnx    the same in another precision
    ….plan                 plans that TensorRT built of graphs

Knows files and hashes; does not open graphs or weights, so needs no library. Invariant: a bundle that was
loaded with `verify` holds exactly the bytes that its manifest was written for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError
from .manifest import Graph, Manifest, Plan, Weights

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder with a manifest that was read and checked."""

    folder: Path
    manifest: Manifest
    sha256: str
    """SHA-256 of the manifest, which holds the hashes of the other files: it identifies the bundle as a whole."""

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True) -> Bundle:
        """Open the bundle at `path`: read its manifest, check that its files exist and, with `verify`, their hashes.

        `path` is its folder, or the name of a bundle of the package, such as `small`; where there is a folder of that
        name, too, it is the folder.

        Errors: `BundleError` for a missing folder, manifest or file, a manifest of another format or with invalid keys
        or values, a file whose hash differs.
        """
        folder = Path(path)
        if not folder.is_dir():
            packaged = packaged_bundles()
            if (name := os.fspath(path)) not in packaged:
                raise BundleError(
                    f"bundle {folder}: no such folder; make one with `usert export`, or name one of the package: "
                    f"{', '.join(packaged)}"
                )
            folder = packaged[name]
        try:
            text = (folder / MANIFEST).read_bytes()
        except FileNotFoundError as error:
            raise BundleError(f"bundle {folder}: no {MANIFEST} in it, so it is not a bundle") from error
        except OSError as error:
            raise BundleError(f"bundle {folder}: cannot read {MANIFEST}: {error.strerror}") from error
        try:
            manifest = Manifest.from_json(text.decode())
        except UnicodeDecodeError as error:
            raise BundleError(f"bundle {folder}: {MANIFEST}: not valid UTF-8") from error
        except BundleError as error:
            raise BundleError(f"bundle {folder}: {MANIFEST}: {error}") from error
        bundle = cls(folder=folder, manifest=manifest, sha256=hashlib.sha256(text).hexdigest())
        for name in manifest.files:
            if not (folder / name).is_file():
                raise BundleError(f"bundle {folder}: {name} is missing; copy or export the bundle again")
        if verify:
            bundle.verify()
        return bundle

    def verify(self) -> None:
        """Compare the hash of every file with the manifest. Errors: `BundleError` naming the first that differs."""
        weights = self.manifest.weights
        hashes = {weights.file: weights.sha256} | {part.file: part.sha256 for part in self.manifest.made}
        for name, expected in hashes.items():
            got = sha256_of(self.folder / name)
            if got != expected:
                raise BundleError(
                    f"bundle {self.folder}: {name} is damaged: got sha256 {got[:12]}, "
                    f"expected {expected[:12]}; copy or export the bundle again"
                )

    def path_of(self, part: Graph | Plan | Weights) -> Path:
        """Path of the file of `part`."""
        return self.folder / part.file


def packaged_bundles() -> dict[str, Path]:
    """Folders of the bundles that are installed with the package, by name: `default` and `small`."""
    manifests = sorted(Path(__file__).parents[1].glob(f"bundles/*/{MANIFEST}"))
    return {manifest.parent.name: manifest.parent for manifest in manifests}


def default_bundle_path() -> Path:
    """Folder of the bundle that is used where none is named. Errors: `BundleError` if it is missing."""
    folder = packaged_bundles().get("default")
    if folder is None:
        raise BundleError("bundle default: missing in the package: reinstall usert, or name one by --bundle")
    return folder


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file. Errors: `BundleError` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{os.fspath(path)}: cannot read: {error.strerror}") from error


def bundle_place(folder: str | os.PathLike[str]) -> Path:
    """The real path of `folder`, where a bundle may be written.

    Errors: `BundleError` where it holds something that is not a bundle.
    """
    target = Path(os.path.realpath(folder))
    occupied = target.exists() and not (target.is_dir() and not any(target.iterdir()))
    if occupied and not (target / MANIFEST).is_file():
        raise BundleError(f"bundle {target}: holds something that is not a bundle; name another folder")
    return target


def write_bundle(
    folder: str | os.PathLike[str], manifest: Manifest, files: Iterable[str | os.PathLike[str]]
) -> Bundle:
    """Write the bundle `folder` from copies of `files`, replacing an older bundle there.

    The new bundle is written and verified in a folder beside it, then renamed: if anything fails the old one stays.
    Errors: `BundleError`, also where `folder` holds something that is not a bundle; `ValueError` if `files`
    are not those that the manifest names.
    """
    target, sources = bundle_place(folder), [Path(file) for file in files]
    if sorted(source.name for source in sources) != sorted(manifest.files):
        raise ValueError(f"files: got {[source.name for source in sources]}, expected {list(manifest.files)}")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        for source in sources:
            shutil.copyfile(source, part / source.name)
        (part / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        sha256 = Bundle.load(part).sha256
        _swap(part, target)
    except OSError as error:
        raise BundleError(f"bundle {target}: cannot write: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Bundle(folder=target, manifest=manifest, sha256=sha256)


def _swap(part: Path, target: Path) -> None:
    """Move `part` to `target`; at every moment the old or the new bundle exists as a whole."""
    if not target.exists():
        part.rename(target)
        return
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    target.rename(old)
    try:
        part.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
