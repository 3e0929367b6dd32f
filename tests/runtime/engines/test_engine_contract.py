"""The engines of the runtime keep the contract that engines of others are held against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tiny_bundle import tiny_bundle

from usert.bundle import Bundle, default_bundle_path
from usert.estimators import ESTIMATORS
from usert.runtime.engines import open_engine
from usert.runtime.engines.classical import ClassicalEngine
from usert.runtime.engines.interface import Engine
from usert.testing import AccurateEngineContract, EngineContract

LIBRARIES = ["onnxruntime", "openvino", "best"]


class TestTinyBundle(EngineContract):
    shape, iq_shape = (40, 12), (24, 12)

    @pytest.fixture(params=LIBRARIES)
    def engine(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
        with closing(open_engine(tiny_bundle(tmp_path / "b"), engine=request.param, threads=1)) as engine:
            yield engine


def open_default(name: str) -> Engine:
    return open_engine(Bundle.load(default_bundle_path(), verify=False), engine=name, threads=1)


@pytest.fixture(scope="module", params=LIBRARIES[:2])
def default_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with closing(open_default(request.param)) as engine:
        yield engine


class TestDefaultBundle(AccurateEngineContract):
    @pytest.fixture
    def engine(self, default_engine: Engine) -> Engine:
        return default_engine

    @pytest.fixture
    def engine_to_close(self) -> Engine:
        return open_default("best")


class TestClassical(AccurateEngineContract):
    @pytest.fixture(params=sorted(ESTIMATORS))
    def engine(self, request: pytest.FixtureRequest) -> Engine:
        return ClassicalEngine(request.param, strain_window_samples=65)
