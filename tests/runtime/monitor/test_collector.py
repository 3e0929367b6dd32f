"""What the server counts anyway is shown as it is, when somebody asks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from live import Feed, Source, numbered_message, received_frame, wait_until
from scrape import CPU, Running, Server, counts_of, names, note, samples, watching

from usert import __version__
from usert.bundle import Bundle
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.monitor.gpu_memory import GpuMemory, gpu_memory
from usert.runtime.monitor.metrics import Metrics
from usert.runtime.record.contents import Provenance
from usert.runtime.record.recorder import Recorder
from usert.runtime.server.server import StrainServer


def test_nothing_is_read_until_somebody_asks() -> None:
    server = Server(counts_of(received=1), counts_of(received=2))
    metrics = watching(server)
    metrics.image(stream="probe", state="live", age_ms=40)
    assert server.readings == 0
    assert samples(metrics)["usert_frames_received_total",] == 1
    assert samples(metrics)["usert_frames_received_total",] == 2


def test_every_count_of_the_server_is_shown() -> None:
    counts = counts_of(
        received=100,
        dropped=1,
        lost=2,
        duplicates=3,
        late=4,
        rejected=5,
        unpaired=6,
        failed={"EngineError": 7},
        malformed={"size": 8, "version": 9},
        sessions=10,
        clock_jumps=11,
        missed_deadlines=12,
        sources=13,
        published=14,
    )
    found = samples(watching(Server(counts, frozen_streams=2)))
    dropped = {key[1]: value for key, value in found.items() if key[0] == "usert_frames_dropped_total"}
    assert dropped == {
        "newer_frame": 1,
        "lost": 2,
        "duplicate": 3,
        "late": 4,
        "rejected": 5,
        "unpaired": 6,
    }
    assert found["usert_frames_received_total",] == 100
    assert found["usert_pairs_failed_total", "EngineError"] == 7
    assert found["usert_messages_malformed_total", "size"] == 8
    assert found["usert_messages_malformed_total", "version"] == 9
    assert found["usert_sessions_total",] == 10
    assert found["usert_clock_jumps_total",] == 11
    assert found["usert_deadlines_missed_total",] == 12
    assert found["usert_streams",] == 13
    assert found["usert_streams_frozen",] == 2
    assert found["usert_images_published_total",] == 14
    assert found["usert_image_rate_hertz",] == 0
    assert found["usert_image_ages_exact",] == 1


def test_the_counter_of_lost_frames_never_falls() -> None:
    """A frame that comes late is taken back from the lost, which Prometheus would read as a new start."""
    metrics = watching(Server(*(counts_of(lost=lost) for lost in (5, 4, 7))))
    assert [samples(metrics)["usert_frames_dropped_total", "lost"] for _ in range(3)] == [5, 5, 7]


def test_the_engine_is_named_as_it_is_when_asked() -> None:
    server = Server()
    metrics = watching(server)
    for engine, bundle in (("tensorrt NVIDIA H200 (sm_90)", "/b/\udcff\n"), (CPU, "/c")):
        server.engine = Running(engine, bundle, "abc")
        shown = bundle.replace("\udcff\n", "\\udcff\\n")
        assert samples(metrics)["usert_server_info", shown, engine, __version__, "abc"] == 1


def test_the_gpu_is_asked_only_while_the_engine_runs_on_one() -> None:
    def gpus() -> Sequence[GpuMemory]:
        return [GpuMemory(gpu=0, used_bytes=3 << 30, total_bytes=80 << 30)]

    for engine, there in (
        (CPU, False),
        ("openvino CPU", False),
        ("usert.estimators ncc", False),
        ("torch cpu", False),
        ("onnxruntime CUDAExecutionProvider", True),
        ("onnxruntime TensorrtExecutionProvider", True),
        ("tensorrt NVIDIA H100 80GB HBM3 (sm_90)", True),
        ("tensorrt_rtx NVIDIA H100 80GB HBM3 (sm_90)", True),
        ("torch cuda", True),
    ):
        found = samples(watching(Server(engine=engine), gpus))
        assert (("usert_gpu_memory_used_bytes", "0") in found) == there, engine
        if there:
            assert found["usert_gpu_memory_used_bytes", "0"] == 3 << 30
            assert found["usert_gpu_memory_total_bytes", "0"] == 80 << 30


def test_the_driver_names_memory_that_can_be_or_none() -> None:
    for memory in gpu_memory():
        assert 0 <= memory.used_bytes <= memory.total_bytes


def test_a_live_server_is_shown_as_it_knows_itself(feed: Feed, server: StrainServer, source: Source) -> None:
    metrics = Metrics()
    metrics.watch(server)
    source.send_parts(b"garbage")
    for _ in range(3):
        feed.next()
        feed.image()
    wait_until(lambda: sum(server.counts.malformed.values()) == 1)
    found, counts = samples(metrics), server.counts
    assert found["usert_frames_received_total",] == counts.frames.received >= 3
    assert found["usert_images_published_total",] == counts.published >= 3
    assert found["usert_image_rate_hertz",] > 0
    (fault,) = counts.malformed
    assert found["usert_messages_malformed_total", fault] == 1


def received(sequence: int) -> ReceivedFrame:
    return received_frame(numbered_message(sequence), received_ns=sequence)


def test_a_recorder_is_shown_while_there_is_one_as_it_knows_itself(bundle: Bundle, tmp_path: Path) -> None:
    server = Server()
    metrics = watching(server)
    assert not [name for name in names(metrics) if "recorder" in name]
    with Recorder(tmp_path / "r.h5", Provenance.of(bundle), reserve_bytes=0) as recorder:
        server.recorder = recorder
        for sequence in range(1, 6):
            recorder.put_frame(received(sequence))
        wait_until(lambda: recorder.stats.frames.recorded == 5 and recorder.held_bytes == 0)
        found = samples(metrics)
        assert found["usert_recorder_received_total", "frame"] == 5
        assert found["usert_recorder_recorded_total", "frame"] == 5
        assert found["usert_recorder_received_total", "image"] == 0
        assert found["usert_recorder_waiting_bytes",] == 0


def test_what_a_recorder_misses_is_shown_by_reason(bundle: Bundle, tmp_path: Path) -> None:
    with Recorder(tmp_path / "r.h5", Provenance.of(bundle), max_bytes=1) as recorder:
        metrics = watching(Server(recorder=recorder))
        for sequence in range(3):
            recorder.put_frame(received(sequence))
        assert samples(metrics)["usert_recorder_missing_total", "queue_full", "frame"] == 3


def test_without_a_recorder_there_is_nothing_of_it() -> None:
    assert not [name for name in names(watching(Server())) if "recorder" in name or "gpu" in name]


def test_the_page_for_operators_lists_every_metric_and_no_other(bundle: Bundle, tmp_path: Path) -> None:
    page = Path(__file__).parents[3].joinpath("docs", "operations.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    counts = counts_of(failed={"EngineError": 1}, malformed={"size": 1})
    with Recorder(tmp_path / "r.h5", Provenance.of(bundle), max_bytes=1) as recorder:
        recorder.put_frame(received(0))
        server = Server(counts, engine="torch cuda", recorder=recorder)
        metrics = watching(server, lambda: [GpuMemory(gpu=0, used_bytes=1, total_bytes=2)])
        note(metrics)
        found = {re.sub("_(bucket|sum|count)$", "", name) for name in names(metrics)}
    shown = {name for name in found if name.startswith("usert_")}
    assert set(re.findall(r"`(usert_\w+)`", table)) == shown
