"""A scanner that misbehaves, and the server that counts each misbehaviour, says so, and goes on."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import zmq
from live import TIMEOUT_S, books_balance, numbered_frame, running, wait_until

from usert.cli import app
from usert.errors import OptionError
from usert.frame import RFFrame
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.header import MalformedError
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer
from usert.runtime.server.session_tracker import SessionTracker
from usert.runtime.sources.mess import MESSES, Mess, Step
from usert.runtime.sources.messy_replay import LEAST_HZ, MessyReplay
from usert.runtime.sources.replay import ReplayConfig

ANY = "tcp://127.0.0.1:0"
FRAME = numbered_frame(0)


def steps_of(mess: Mess, ticks: int = 200) -> list[list[Step]]:
    return [mess.tick(FRAME, 10**12 + 10**8 * k) for k in range(ticks)]


def frames_of(mess: Mess, ticks: int = 200) -> list[RFFrame]:
    return [step for steps in steps_of(mess, ticks) for step in steps if isinstance(step, RFFrame)]


def test_the_same_seed_gives_the_same_mess() -> None:
    first, second, other = (
        [
            [(step.sequence, step.time_ns, step.shape) if isinstance(step, RFFrame) else "" for step in steps]
            for steps in steps_of(Mess(tuple(MESSES), seed=seed))
        ]
        for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize("name", MESSES)
def test_each_happens_and_is_named_with_its_number(name: str) -> None:
    mess = Mess((name,), seed=1)
    steps_of(mess)
    assert mess.counts[name] >= 5
    assert f"{name} {mess.counts[name]}" in mess.summary


def test_without_names_frames_are_as_they_should_be() -> None:
    frames = frames_of(mess := Mess(()))
    assert [frame.sequence for frame in frames] == list(range(200))
    assert all(frame.scan == FRAME.scan and frame.shape == FRAME.shape for frame in frames)
    assert (sum(mess.counts.values()), mess.expected) == (0, {"sessions": 1})


def test_what_is_done_to_frames() -> None:
    shapes = {name: {frame.shape for frame in frames_of(Mess((name,)))} for name in ("roi", "depth")}
    assert shapes == {"roi": {(24, 8), (24, 4)}, "depth": {(24, 8), (18, 8)}}
    pitches = {
        frame.scan.line_pitch_mm / FRAME.scan.line_pitch_mm - 1 for frame in frames_of(Mess(("jitter",)))
    }
    assert 0 < max(map(abs, pitches)) < 1e-6
    bad = [frame for frame in frames_of(Mess(("nan",))) if not np.isfinite(frame.samples).all()]
    assert bad
    assert any(not frame.samples.any() for frame in frames_of(Mess(("blank",))))
    burst = [len(steps) for steps in steps_of(Mess(("burst",)))]
    assert {*burst} == {0, 1, 4}
    reorders, clocks = Mess(("reorder",)), Mess(("clock",))
    sequences = np.diff([frame.sequence for frame in frames_of(reorders)])
    assert np.count_nonzero(sequences < 0) == reorders.expected["late"]
    late = []
    for k in range(1, 4):
        reorders.tick(FRAME, k, first=True)
        late.append(reorders.expected["late"])
    assert late[1:] == late[:-1], "nothing is held where a loop begins anew"
    times = np.diff([frame.time_ns for frame in frames_of(clocks)])
    assert np.count_nonzero(times != 10**8) == clocks.expected["clock_jumps"]


@pytest.mark.parametrize(("name", "fault"), [("bmode", "field"), ("half", "size")])
def test_malformed_messages_have_the_fault_that_the_protocol_names(name: str, fault: str) -> None:
    parts = next(step for steps in steps_of(Mess((name,))) for step in steps if isinstance(step, list))
    with pytest.raises(MalformedError) as caught:
        RFMessage.from_parts(parts)
    assert caught.value.fault == fault


def test_a_recording_that_begins_again_begins_a_count() -> None:
    mess = Mess(("burst",), every=5)
    for k in itertools.count():
        if not mess.tick(FRAME, k):
            break  # some are held now
    released, again = mess.tick(FRAME, 10**6, first=True)
    assert isinstance(released, RFFrame)
    assert isinstance(again, RFFrame)
    assert (again.sequence, mess.expected["sessions"]) == (0, 2)


@pytest.mark.parametrize(
    ("names", "every", "message"),
    [(("rain",), 12, r"mess: got 'rain', expected all, or some of roi,"), (("roi",), 4, "got 4")],
)
def test_what_does_not_exist_is_refused(names: tuple[str, ...], every: int, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Mess(names, every=every)


@pytest.mark.parametrize("names", [*((name,) for name in MESSES), tuple(MESSES)], ids="-".join)
def test_a_server_counts_exactly_what_went_wrong_and_goes_on(engine: Engine, names: tuple[str, ...]) -> None:
    binds = ServerConfig(rf=ANY, rf_type="pull", rf_bind=True, publish=ANY)
    mess = Mess(names, seed=3, every=6, stream="probe")
    with running(StrainServer(engine=engine, config=binds)) as server:
        endpoint = server.rf_endpoints[0]
        config = ReplayConfig(
            endpoint=endpoint, socket_type="push", bind=False, rate_hz=400, count=120, stream="probe"
        )
        frames = [numbered_frame(k) for k in range(8)]
        with MessyReplay(lambda: itertools.cycle(frames), config, mess) as replay:
            replay.run()
        wait_until(
            lambda: server.counts.frames.received == mess.expected["received"] and books_balance(server)
        )
        counts = server.counts
        assert sum(counts.malformed.values()) == mess.expected["malformed"]
        for name in ("lost", "duplicates", "late", "clock_jumps", "sessions"):
            assert getattr(counts.frames, name) == mess.expected[name], name
    assert replay.sent == 120


@pytest.mark.parametrize("names", [*((name,) for name in MESSES), tuple(MESSES)], ids="-".join)
def test_frames_as_slow_as_are_allowed_are_counted_exactly(names: tuple[str, ...]) -> None:
    """In simulated time, with a machine that is late by up to .4 s."""
    for seed in range(5):
        mess, numbers, late = Mess(names, seed=seed, every=6), itertools.count(1), random.Random(seed)
        tracker = SessionTracker(lambda numbers=numbers: next(numbers))  # type: ignore[misc]
        for k in range(300):
            now_ns = 10**12 + round(1e9 * (k / LEAST_HZ + 0.4 * late.random()))
            for step in mess.tick(FRAME, now_ns, first=k % 100 == 0):
                if isinstance(step, RFFrame):
                    tracker.admit(RFMessage(frame=step, stream="probe", clock="c"), now_ns)
        for name in ("lost", "duplicates", "late", "clock_jumps", "sessions"):
            assert tracker.counts[name] == mess.expected[name], name


def test_slower_frames_are_refused() -> None:
    config = ReplayConfig(endpoint=ANY, rate_hz=1.9)
    with pytest.raises(OptionError, match=r"--rate with --mess: got 1\.9 Hz, expected 2 or more"):
        MessyReplay(lambda: [FRAME], config, Mess(("burst",)))


def test_usert_replay_says_what_went_wrong() -> None:
    command = [sys.executable, "-m", "usert", "replay", "--simulate", "--publish", ANY, "--rate", "200"]
    with subprocess.Popen(
        [*command, "--count", "40", "--mess", "half,drop"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            endpoint = process.stdout.readline().split(" on ")[1].split()[0]
            with zmq.Context() as context, context.socket(zmq.SUB) as socket:
                socket.linger = 0
                socket.subscribe(b"")
                socket.connect(endpoint)
                rest, _ = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert "40 frames sent" in rest
    assert "mess: drop " in rest
    assert "a server counts received " in rest
    done = subprocess.run([*command, "--mess", "rain"], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "'rain'" in done.stderr


def test_the_help_names_everything_that_may_go_wrong() -> None:
    command: Any = typer.main.get_command(app)
    (option,) = (p for p in command.commands["replay"].params if p.name == "mess")
    assert f"all, or some of {', '.join(MESSES)}, with commas" in option.help
    page = (Path(__file__).parents[3] / "docs" / "scanners.md").read_text(encoding="utf-8")
    assert [name for name in MESSES if f"`{name}`" not in page] == []
