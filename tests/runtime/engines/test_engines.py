"""Which engine opens a bundle: the one that was named, or the best that works here."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_bundle import tiny_bundle

from usert.errors import BundleError, EngineError, MissingExtraError, OptionError
from usert.runtime import engines
from usert.runtime.engines import open_engine, registry
from usert.runtime.engines.best import BestEngine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate


@pytest.mark.parametrize(
    ("name", "runs"), [("openvino", "openvino CPU"), ("onnxruntime", "onnxruntime CPUExecutionProvider")]
)
def test_the_one_that_was_named(name: str, runs: str, tmp_path: Path) -> None:
    with closing(open_engine(tiny_bundle(tmp_path / "b"), engine=name)) as engine:
        assert engine.name == runs


def test_the_best_is_not_one_that_is_only_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu lists CUDA without a driver, and falls back in silence."""
    from usert.runtime.engines import ort

    listed = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    real = ort.onnxruntime.InferenceSession
    asked: list[str] = []

    def falls_back(path: str, *, sess_options: object, providers: list[str], **_: object) -> object:
        asked.append(providers[0])
        return real(path, sess_options=sess_options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(ort.onnxruntime, "get_available_providers", lambda: listed)
    monkeypatch.setattr(ort.onnxruntime, "InferenceSession", falls_back)
    monkeypatch.setattr(ort, "gpu_name", lambda: "NVIDIA H200 (sm_90)")
    bundle = tiny_bundle(tmp_path / "b")
    with closing(open_engine(bundle)) as engine:
        assert engine.name == "openvino CPU"
    assert asked == []  # the package for CPUs has no libraries of theirs

    (tmp_path / "capi").mkdir()
    for provider in ("cuda", "tensorrt"):
        (tmp_path / "capi" / f"libonnxruntime_providers_{provider}.so").touch()
    of_gpus = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(registry, "find_spec", lambda name: of_gpus)
    with closing(open_engine(bundle)) as engine:
        assert engine.name == "openvino CPU"
    assert asked == listed[:2]


def test_the_best_loads_no_library_that_cannot_be_it(tmp_path: Path) -> None:
    """Each costs up to half a second of a start."""
    bundle = tiny_bundle(tmp_path / "b")
    code = (
        "import sys; from usert.bundle import Bundle; from usert.runtime.engines import open_engine; "
        "open_engine(Bundle.load(sys.argv[1])).close(); "
        "print([m for m in ('onnxruntime', 'tensorrt', 'tensorrt_rtx', 'cuda') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_without_openvino_onnxruntime_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "usert.runtime.engines.openvino", raising=False)
    with closing(open_engine(bundle)) as engine:
        assert engine.name == "onnxruntime CPUExecutionProvider"
    with pytest.raises(MissingExtraError, match=r"^openvino .*: pip install 'usert\[openvino\]'$"):
        open_engine(bundle, engine="openvino")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "usert.runtime.engines.ort", raising=False)
    with pytest.raises(MissingExtraError, match=r"^onnxruntime .*: pip install 'usert\[cpu\]'$"):
        open_engine(bundle)


def test_openvino_tells_its_maker_nothing() -> None:
    """On import it would start a thread that sends an event over the network."""
    code = (
        "import sys, threading, usert.runtime.engines.openvino; "
        "sys.exit('openvino_telemetry' in sys.modules or threading.active_count() > 1)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_and_absent_engines_are_named(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    with pytest.raises(
        OptionError, match=r"^engine: got 'abacus', expected best, .*onnxruntime, .*openvino, .*torch$"
    ):
        open_engine(bundle, engine="abacus")
    with pytest.raises(EngineError, match=r"CUDAExecutionProvider, expected .*CPU"):
        open_engine(bundle, engine="onnxruntime-cuda")


class OneShape:
    """Takes frames of one shape, as a plan does; the estimate's strain names it."""

    strain_window_at = staticmethod(lambda scan: 3)

    def __init__(self, name: str, shape: tuple[int, int], opened: list[str]) -> None:
        self.name, self.shape, self.opened = name, shape, opened
        opened.append(name)

    def warm_up(self, shape: tuple[int, int], scan: object = None) -> None:
        self.run(np.zeros(shape), np.zeros(shape))

    def run(self, reference: np.ndarray, current: np.ndarray, scan: object = None) -> Estimate:
        if reference.shape != self.shape:
            raise BundleError(f"{self.name}: another shape")
        return Estimate(displacement=np.zeros((2, *self.shape)), strain=reference, quality=current)

    def close(self) -> None:
        self.opened.remove(self.name)


def test_the_best_leaves_what_it_does_not_take_to_the_next() -> None:
    opened: list[str] = []

    def absent() -> Engine:
        raise EngineError("no GPU here")

    best = BestEngine(
        {
            "a": lambda: OneShape("a", (4, 4), opened),
            "b": absent,
            "c": lambda: OneShape("c", (8, 8), opened),
        },
        blame="b",
    )
    small, large = np.zeros((4, 4)), np.ones((8, 8))
    assert (best.name, opened) == ("a", ["a"])
    best.run(small, small)
    assert (best.name, opened) == ("a", ["a"])
    assert best.run(large, large).strain is large
    assert (best.name, opened) == ("c", ["a", "c"])
    best.warm_up((4, 4))
    assert best.name == "a"
    with pytest.raises(BundleError, match="c: another shape"):
        best.run(np.zeros((5, 5)), np.zeros((5, 5)))
    best.close()
    assert opened == []
    with pytest.raises(EngineError, match="no GPU here"):
        BestEngine({"b": absent}, blame="b")


def test_the_best_runs_as_many_pairs_at_once_as_each_engine_that_it_opened() -> None:
    class Concurrent(OneShape):
        def at_once(self, shape: tuple[int, int], scan: object = None) -> int:
            return 4

    opened: list[str] = []
    kinds = {"a": OneShape("a", (4, 4), opened), "b": Concurrent("b", (8, 8), opened)}
    best = BestEngine({name: lambda name=name: kinds[name] for name in kinds}, blame="a")  # type: ignore[misc]
    best.run(np.ones((8, 8)), np.ones((8, 8)))
    assert best.name == "b"
    assert best.at_once((4, 4)) == best.at_once((8, 8)) == 1  # frames that `a` takes may come next
    assert BestEngine({"b": lambda: kinds["b"]}, blame="b").at_once((8, 8)) == 4


def test_every_engine_has_a_name_of_its_own() -> None:
    assert len(set(engines.ENGINES)) == len(engines.ENGINES)
    assert engines.BEST not in engines.ENGINES


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_thousand_runs_keep_no_memory(name: str, tmp_path: Path) -> None:
    """Estimates of 400 kB each: keeping any of them would show."""
    frames = np.random.default_rng(0).integers(-500, 500, (2, 320, 80), dtype=np.int16)
    with closing(open_engine(tiny_bundle(tmp_path / "b"), engine=name, threads=1)) as engine:
        for _ in range(200):
            engine.run(*frames)
        before = resident_bytes()
        for _ in range(1000):
            engine.run(*frames)
        assert resident_bytes() - before < 20e6


def resident_bytes() -> int:
    """Of this process; Linux only."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("no /proc here")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
