"""Servers and bundles that are told to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from control_room import Room
from live import TIMEOUT_S, Feed, Source, numbered_frame, running
from swapping import Opener

from usert.bundle import Bundle
from usert.runtime.clients.control_client import ControlClient
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import EstimatedPair
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.imaging.image_quality import ImageQualityRule
from usert.runtime.record.contents import Provenance
from usert.runtime.record.recorder import Recorder
from usert.runtime.record.switch import RecordSwitch, RunningBundle
from usert.runtime.server.bundle_swap import BundleSwap
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.engine_runner import EngineRunner
from usert.runtime.server.server import StrainServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of records."""
    (tmp_path / "records").mkdir()
    return tmp_path / "records"


@pytest.fixture
def room(engine: Engine, bundle: Bundle, source: Source, folder: Path) -> Iterator[Room]:
    def recorder(path: Path, displacement: bool, running: RunningBundle, case: str) -> Recorder:
        assert running.folder is not None
        provenance = Provenance.of(
            Bundle.load(running.folder),
            case=case,
            engine=running.engine or "onnxruntime",
            precision=running.precision,
        )
        return Recorder(path, provenance, displacement=displacement)

    def opened(bundle: Bundle, engine: str, precision: str) -> Engine:
        return open_engine(bundle, engine=engine or "onnxruntime", threads=1, precision=precision or None)

    server = StrainServer(
        engine=engine,
        config=ServerConfig(
            rf=source.endpoint,
            rf_type="pull",
            publish="tcp://127.0.0.1:0",
            control="tcp://127.0.0.1:0",
        ),
        weights_hash=bundle.manifest.weights.sha256,
        bundle=bundle.folder,
        switch=RecordSwitch(folder=folder, make=recorder),
        open_bundle=opened,
    )
    with ExitStack() as stack:
        stack.enter_context(running(server))
        client = stack.enter_context(StrainClient(server.publish_endpoint))
        assert server.control_endpoint is not None
        console = stack.enter_context(ControlClient(server.control_endpoint))
        feed = Feed(source, client)
        feed.prime()
        yield Room(server, feed, console)


@pytest.fixture
def opener() -> Opener:
    return Opener()


@pytest.fixture
def change(opener: Opener) -> Iterator[BundleSwap]:
    made = BundleSwap()
    yield made
    opener.gate.set()
    made.close(TIMEOUT_S)


@pytest.fixture
def trial(engine: Engine) -> EstimatedPair:
    """Frames 1 and 2 by the bundle that runs."""
    reference, current = (
        ReceivedFrame(frame=numbered_frame(k), stream="s", clock="c", received_ns=k, session=1)
        for k in (1, 2)
    )
    return EngineRunner(engine, quality_rule=ImageQualityRule()).estimate(reference, current)
