"""Manifests: what is written is read, and what is not understood is refused by the path of its key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small_bundle import manifest

from usert.bundle.manifest import Manifest
from usert.errors import BundleError


def test_json_keeps_every_value() -> None:
    assert Manifest.from_json(manifest().to_json()) == manifest()
    tree = json.loads(manifest().to_json())
    assert tree["format"] == 3
    assert tree["graphs"][0]["shape"] is None
    assert tree["conventions"]["strain"] == "fraction, compression positive"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.update(format=1), "format: got 1, expected 2 or 3"),
        (lambda t: t.pop("format"), "format: got None, expected 2 or 3"),
        (lambda t: t.update(format=True), "format: got True, expected 2 or 3"),
        (lambda t: t.update(refinement="more"), "refinement: got 'more', expected off, cheap, full"),
        (lambda t: t.update(engine="x"), "unknown key engine, expected format, "),
        (lambda t: t["network"].update(depth=3), "unknown key network.depth, expected name, "),
        (lambda t: t["graphs"][1].update(lines=3), r"unknown key graphs\[1\].lines"),
        (lambda t: t["weights"].pop("sha256"), "key weights.sha256 is missing"),
        (lambda t: t.update(opset="20"), "opset: got '20', expected an integer"),
        (lambda t: t.update(network=3), "network: got 3, expected an object"),
        (lambda t: t.update(quality_window=[65]), r"quality_window: got \[65\], expected tuple"),
        (
            lambda t: t["network"].update(normalise_features=1),
            "normalise_features: got 1, expected true or false",
        ),
        (lambda t: t["input"].update(dtype="float32"), "input.dtype: got 'float32', expected int16"),
        (lambda t: t["conventions"].update(strain="tension positive"), "conventions.strain: got 'tension"),
        (lambda t: t["weights"].update(file="../w"), r"weights.file: got '../w'"),
        (
            lambda t: t["graphs"][0].update(file="/etc/passwd"),
            r"graphs\[0\].file: got '/etc/passwd'",
        ),
        (lambda t: t["weights"].update(model_card="a/b"), "weights.model_card: got 'a/b'"),
        (
            lambda t: t["graphs"][0].update(shape=[8, 4]),
            "graphs: got .*shape and precision",
        ),
        (lambda t: t.update(graphs=[]), "graphs: got 'none'"),
        (
            lambda t: t["graphs"][2].update(precision="int4"),
            "precision: got 'int4', expected float32, float16",
        ),
        (
            lambda t: t["graphs"][0]["accuracy"].update(a="x"),
            r"graphs\[0\].accuracy.a: got 'x', expected a finite number",
        ),
        (
            lambda t: t.update(follow=[t["graphs"][0]]),
            "follow: got 'graphs with rf', expected graphs with base",
        ),
        (lambda t: t["tolerances"].pop("int8"), r"tolerances: got \['float32'\], expected int8, too"),
        (lambda t: t["plans"][0].update(library="cudnn"), "library: got 'cudnn', expected tensorrt, tens"),
        (lambda t: t["plans"][0].update(graph="other.onnx"), "graph: got 'other.onnx', expected strain"),
        (lambda t: t["plans"][0].update(most=[4, 4]), r"most: got \[4, 4\], expected at least \[8, 4\]"),
        (lambda t: t["plans"][0].update(file="strain.onnx"), "files: got"),
        (lambda t: t["graphs"][0].update(sha256="abc"), "sha256: got 'abc', expected 64 hexadecimal"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(edit: Any, message: str) -> None:
    tree = json.loads(manifest().to_json())
    edit(tree)
    with pytest.raises(BundleError, match=message) as caught:
        Manifest.from_json(json.dumps(tree))
    assert "\n" not in str(caught.value)
