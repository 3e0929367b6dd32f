"""`usert serve --check`: what it says, what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zmq
from live import wait_until
from secured_publisher import KeyRing
from server_process import ServerProcess, ended, sender
from tiny_bundle import tiny_bundle

from usert.bundle import Bundle, default_bundle_path
from usert.errors import BundleError, EngineError
from usert.runtime.engines import open_engine
from usert.runtime.engines.interface import Engine
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.preflight import describe_keys, describe_record, try_engine

ANY = "tcp://127.0.0.1:0"


def words(bundle: Path, **options: str | Path) -> list[str | Path]:
    """Of a check of a server that pulls."""
    given: dict[str, str | Path] = {"rf": ANY, "publish": ANY, "engine": "onnxruntime", "threads": "1"}
    given |= {"bundle": bundle, **options}
    flags = (word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value))
    return [*flags, "--rf-type", "pull", "--check"]


def test_a_check_says_what_was_found_and_leaves_nothing_behind(tmp_path: Path, bundle: Bundle) -> None:
    """Not even of frames that come while it looks: nothing is recorded."""
    ring = KeyRing(tmp_path / "keys")
    ring.allow("display", "registrar")
    records, sockets = tmp_path / "records", tmp_path / "s"
    records.mkdir()
    sockets.mkdir()
    strain = f"ipc://{sockets / 'strain'}"
    with zmq.Context() as context, context.socket(zmq.PUSH) as source:
        source.linger = 0
        source.bind(ANY)
        rf = source.get_string(zmq.LAST_ENDPOINT)
        keyed = {"key": ring.secret("server"), "allow": ring.allowed}
        send = sender(source)

        def over() -> bool:
            send()
            return not check.alive

        with ServerProcess(*words(bundle.folder, rf=rf, publish=strain, record=records, **keyed)) as check:
            wait_until(over)
            code, out, errors = check.rest()
    assert (code, errors) == (0, "")
    lines = [line.removeprefix("check: ") for line in out.splitlines()]
    assert lines[0] == f"keys: 2 viewers allowed by {ring.allowed}; no key asked of the source"
    assert lines[1].startswith(f"bundle {bundle.folder}, weights {bundle.manifest.weights.sha256[:12]}, ")
    assert lines[2].startswith("engine onnxruntime CPUExecutionProvider, 128 x 64: warm-up ")
    assert lines[3].startswith(f"record in {records}, ")
    assert lines[4] == f"rf on {rf} (pull, connected)"
    assert lines[5] == f"strain on {strain}"
    assert lines[6:] == ["all is well"]
    assert [*records.iterdir(), *sockets.iterdir()] == []


def test_the_first_fault_is_one_line_and_exit_code_1(tmp_path: Path, bundle: Bundle) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle.folder, damaged)
    weights = damaged / bundle.manifest.weights.file
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        taken.bind(ANY)
        in_use = taken.get_string(zmq.LAST_ENDPOINT)
        for command, expected in (
            (words(damaged), "is damaged"),
            (words(bundle.folder, publish=in_use), "Address already in use"),
            (words(bundle.folder, record=tmp_path / "none" / "r.h5"), "make it first"),
            (
                words(bundle.folder, shape="4x8"),
                "--shape 4x8: got 4 samples along depth, expected at least ",
            ),
            (
                words(bundle.folder, shape="10x99999999"),
                "--shape: got 10x99999999, expected N <= 32768, M <= 4096, N·M <= 16777216",
            ),
            (
                words(bundle.folder, rf=in_use, publish=in_use),
                f"publish: got {in_use}, the same endpoint as rf {in_use}, expected one of its own",
            ),
            (words(bundle.folder, key=tmp_path / "none", allow=tmp_path), "cannot read"),
        ):
            code, _, errors = ended(*command)
            assert (code, errors.count("\n")) == (1, 1)
            assert errors.startswith("usert: ")
            assert expected in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged"]


def test_a_check_beside_a_server_that_runs_leaves_it_its_socket(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    code, _, errors = ended(*words(bundle.folder, publish=f"ipc://{path}"))
    assert (code, errors) == (1, f"usert: endpoint ipc://{path}: got a file, expected a name that is free\n")
    assert path.read_text() == "mine"
    path.unlink()
    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        taken.bind(f"ipc://{path}")
        code, _, errors = ended(*words(bundle.folder, publish=f"ipc://{path}"))
        assert (code, errors) == (
            1,
            f"usert: endpoint ipc://{path}: cannot bind: Address already in use\n",
        )
        with context.socket(zmq.SUB) as viewer:
            viewer.subscribe(b"")
            viewer.connect(f"ipc://{path}")

            def hears() -> bool:
                taken.send(b"image")
                return bool(viewer.poll(2))

            wait_until(hears)
    code, _, errors = ended(
        *words(bundle.folder, publish=f"ipc://{path}")
    )  # what was left behind is nobody's
    assert (code, errors, path.exists()) == (0, "", False)


def test_a_check_of_the_default_bundle_runs_its_static_graph() -> None:
    bundle = Bundle.load(default_bundle_path())
    shape = next(graph.shape for graph in bundle.manifest.graphs if graph.shape is not None)
    with closing(open_engine(bundle, engine="onnxruntime", threads=1)) as engine:
        told = try_engine(engine, bundle, None)
    assert told.startswith(f"engine onnxruntime CPUExecutionProvider, {shape[0]} x {shape[1]}: warm-up ")


def test_the_engine_is_tried_with_a_shape_that_it_takes(tmp_path: Path, bundle: Bundle) -> None:
    static = tiny_bundle(tmp_path / "static", shapes=((64, 32),))
    for tried, engine_of, expected in (
        (static, static, "64 x 32: "),
        (bundle, bundle, "128 x 64: "),
        (static, bundle, "64 x 32: "),
    ):
        with closing(open_engine(engine_of, engine="onnxruntime", threads=1)) as engine:
            assert expected in try_engine(engine, tried, None)
    with (
        closing(open_engine(static, engine="onnxruntime", threads=1)) as engine,
        pytest.raises(BundleError, match="expected 64x32"),
    ):
        try_engine(engine, bundle, None)


def test_an_engine_that_answers_with_no_number_fails_the_check(bundle: Bundle, engine: Engine) -> None:
    class Blind:
        name = "blind"
        strain_window_at = engine.strain_window_at
        warm_up, close = engine.warm_up, engine.close

        def run(self, reference: np.ndarray, current: np.ndarray, scan: object = None) -> Estimate:  # type: ignore[type-arg]
            seen = engine.run(reference, current)
            return Estimate(
                displacement=seen.displacement, strain=np.full_like(seen.strain, np.nan), quality=seen.quality
            )

    with pytest.raises(EngineError, match=r"^blind: .*NaN or infinite"):
        try_engine(Blind(), bundle, None)


def test_keys_are_told_of_both_sides(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    assert describe_keys(ServerConfig(rf=ANY, publish=ANY)) == (
        "keys: none, anybody who reaches the endpoint sees the images; no key asked of the source"
    )
    ring.allow("display")
    config = ServerConfig(rf=ANY, publish=ANY, keys=ring.server(), rf_bind=True, rf_keys=ring.server())
    assert (
        describe_keys(config)
        == f"keys: 1 viewer allowed by {ring.allowed}; 1 source allowed by {ring.allowed}"
    )
    config = ServerConfig(rf=ANY, publish=ANY, keys=ring.server(), rf_keys=ring.client("server", "scanner"))
    public = ring.client("server", "scanner").server.decode()
    assert describe_keys(config).endswith(f"the source by its key {public}")


def test_room_for_a_record_is_told(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert describe_record(tmp_path / "r.h5").startswith(f"record in {tmp_path}, {free / 1e9:.0f}"[:-2])
