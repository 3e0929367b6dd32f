"""Bundles: folders with a manifest, graphs and weights, for the runtime to open; specified in `docs/files.md`."""

from .folder import MANIFEST, Bundle, default_bundle_path, sha256_of, write_bundle

__all__ = ["MANIFEST", "Bundle", "default_bundle_path", "sha256_of", "write_bundle"]
