"""Bundles: folders with a manifest, graphs and weights, for the runtime to open; specified in `docs/files.md`."""

from .card import accuracy_line, bundle_card
from .folder import (
    MANIFEST,
    Bundle,
    bundle_place,
    default_bundle_path,
    packaged_bundles,
    sha256_of,
    write_bundle,
)
from .manifest import (
    PRECISIONS,
    TENSORRTS,
    Conventions,
    Graph,
    Input,
    Manifest,
    Network,
    Plan,
    Speed,
    TrainedFor,
    Weights,
)

__all__ = [
    "MANIFEST",
    "PRECISIONS",
    "TENSORRTS",
    "Bundle",
    "Conventions",
    "Graph",
    "Input",
    "Manifest",
    "Network",
    "Plan",
    "Speed",
    "TrainedFor",
    "Weights",
    "accuracy_line",
    "bundle_card",
    "bundle_place",
    "default_bundle_path",
    "packaged_bundles",
    "sha256_of",
    "write_bundle",
]
