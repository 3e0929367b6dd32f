"""A bundle: the folder that export hands to runtime.

    manifest.json          what the others are; see `usert.manifest`
    weights.safetensors    the weights, once; the graphs refer to it as external data
    strain.onnx            the graph for frames of any shape
    strain_1024x256.onnx   faster graphs for one shape each, as many as were exported

Knows files and hashes; does not open graphs or weights, so needs no library. Invariant: a bundle that was
loaded with `verify` holds exactly the bytes that its manifest was written for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import BundleError
from .manifest import Graph, Manifest

MANIFEST = "manifest.json"
TOLERANCE = "tolerance_"
"""Begins the name of what is allowed of a figure of the manifest's accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder with a manifest that was understood."""

    folder: Path
    manifest: Manifest
    sha256: str
    """Of the manifest's bytes, which hold the hashes of all other files: names the bundle as a whole."""

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, verify: bool = True) -> Bundle:
        """Read the manifest and check that its files are there, and with `verify` that none is damaged.

        Errors: `BundleError` for a missing folder, manifest or file, a manifest of another format or with
        keys or values amiss, a file whose hash differs.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise BundleError(f"bundle {folder}: no such folder; make one with `usert export`")
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
        """Compare every hashed file with the manifest. Errors: `BundleError` naming the first amiss."""
        weights = self.manifest.weights
        hashes = {weights.file: weights.sha256} | {g.file: g.sha256 for g in self.manifest.graphs}
        for name, expected in hashes.items():
            got = sha256_of(self.folder / name)
            if got != expected:
                raise BundleError(
                    f"bundle {self.folder}: {name} is damaged: got sha256 {got[:12]}, "
                    f"expected {expected[:12]}; copy or export the bundle again"
                )

    def path_of(self, graph: Graph) -> Path:
        return self.folder / graph.file

    def graph_for(self, shape: tuple[int, int]) -> Graph:
        """The graph built for frames of `shape` (N, M), else the one that takes any shape.

        Errors: `BundleError` that lists the shapes there are.
        """
        by_shape = {graph.shape: graph for graph in self.manifest.graphs}
        graph = by_shape.get(shape) or by_shape.get(None)
        if graph is None:
            known = ", ".join(f"{s[0]}x{s[1]}" for s in by_shape if s is not None)
            raise BundleError(
                f"bundle {self.folder}: got frames of {shape[0]}x{shape[1]}, expected {known}; "
                "export a bundle for this shape, or one for any"
            )
        return graph

    def card(self) -> str:
        """What a person wants to know of the bundle, as lines of text."""
        m = self.manifest
        trained = "images, not RF"
        if m.input.trained_for is not None:
            cycles, strains = m.input.trained_for.centre_cycles_per_sample, m.input.trained_for.strain_percent
            trained = f"f0/fs {cycles[0]:g} to {cycles[1]:g}, strain {strains[0]:g} to {strains[1]:g} %"
        rows = [
            ("bundle", f"{self.folder}  ({self.sha256[:12]})"),
            ("made", f"{m.created} by usert {m.usert_version}, opset {m.opset}, {m.precision}"),
            ("network", f"{m.network.name}, levels {m.network.levels[0]} to {m.network.levels[1]}, "
                        f"{m.network.parameters:,} parameters"),
            ("weights", f"{m.weights.file} ({m.weights.sha256[:12]}), {_in_short(m.weights.recipe)}"),
            ("trained for", trained),
            ("refinement", m.refinement),
            ("strain", f"{m.conventions.strain}; window {m.strain_window_samples} samples"),
            ("quality", f"correlation in windows of {m.quality_window[0]} x {m.quality_window[1]}"),
        ]  # fmt: skip
        for graph in m.graphs:
            shape = "any shape" if graph.shape is None else f"{graph.shape[0]} x {graph.shape[1]}"
            rows.append(("graph", f"{graph.file}, {shape}, {graph.bytes / 1e6:.1f} MB"))
        for name, figure in m.accuracy.items():
            if name.startswith(TOLERANCE):
                continue
            told = figure if isinstance(figure, str) else format(figure, ".3g")
            limit = m.accuracy.get(TOLERANCE + name)
            rows.append(("accuracy", f"{name} {told}" + ("" if limit is None else f", allowed {limit:g}")))
        return "\n".join(f"{label:<12} {text}" for label, text in rows)


def _in_short(recipe: str) -> str:
    """A recipe that is a JSON object (as `usert pretrain` writes it), as its plain entries; any other as it is."""
    try:
        told = json.loads(recipe)
    except ValueError:
        return recipe
    if not isinstance(told, dict):
        return recipe
    plain = {key: value for key, value in told.items() if isinstance(value, str | int | float)}
    return ", ".join(f"{key} {value}" for key, value in plain.items())


def default_bundle_path() -> Path:
    """Folder of the bundle that comes with the package. Errors: `BundleError` if there is none."""
    folder = Path(__file__).parent / "bundles" / "default"
    if not (folder / MANIFEST).is_file():
        raise BundleError(
            f"{folder}: the default bundle is missing: reinstall usert, or name one by --bundle"
        )
    return folder


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{os.fspath(path)}: cannot read: {error.strerror}") from error


def write_bundle(
    folder: str | os.PathLike[str], manifest: Manifest, files: Iterable[str | os.PathLike[str]]
) -> Bundle:
    """Make the bundle `folder` of `files`, each under its own name, and replace an older bundle there.

    All is written and verified in a folder beside, then renamed: if anything fails the old bundle stays.
    Errors: `BundleError`; also when `folder` holds something that is not a bundle. `ValueError` if `files`
    are not those that the manifest names.
    """
    target, sources = Path(os.path.realpath(folder)), [Path(file) for file in files]
    if sorted(source.name for source in sources) != sorted(manifest.files):
        raise ValueError(f"files: got {[source.name for source in sources]}, expected {list(manifest.files)}")
    occupied = target.exists() and not (target.is_dir() and not any(target.iterdir()))
    if occupied and not (target / MANIFEST).is_file():
        raise BundleError(f"bundle {target}: holds something that is not a bundle; name another folder")
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
    """Put `part` in the place of `target`; at every moment one of the two, whole, can be found."""
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
