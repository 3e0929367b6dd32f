"""What a monitor is told of images is true, costs little, and stays bounded whatever the network sends."""

from __future__ import annotations

import math
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from scrape import names, note, samples, sources

from usert.runtime.monitor.labels import MAX_LABELS, OTHER, StreamLabels
from usert.runtime.monitor.metrics import AGES_S, SCORES, STAGES_S, Metrics

HOSTILE = (
    'probe"} 1\nusert_images_total{stream="forged"} 1e9',
    "back\\slash",
    "half \ud800 of a pair",
    "\x1b[2J wipes the screen",
    "\x00",
    "",
    "Ärztin 超音波",
    "x" * 256,
)


def test_images_are_counted_by_stream_and_state() -> None:
    metrics = Metrics()
    for stream, state in (("a", "live"), ("a", "live"), ("a", "held"), ("b", "idle")):
        note(metrics, stream, state)
    found = samples(metrics)
    counted = {key[1:]: value for key, value in found.items() if key[0] == "usert_images_total"}
    assert counted == {("live", "a"): 2, ("held", "a"): 1, ("idle", "b"): 1}


def test_an_age_counts_in_every_bucket_from_its_own_up() -> None:
    metrics = Metrics()
    note(metrics)
    found = samples(metrics)
    for bound in AGES_S:
        assert found["usert_image_age_seconds_bucket", str(float(bound)), "live"] == (bound >= 0.04)
    assert found["usert_image_age_seconds_sum", "live"] == pytest.approx(0.040)


def test_the_stages_add_up_to_the_time_from_reception_to_publication() -> None:
    metrics = Metrics()
    note(metrics)
    found = samples(metrics)
    sums = {key[1]: value for key, value in found.items() if key[0] == "usert_stage_seconds_sum"}
    assert sums == pytest.approx({"wait": 0.001, "engine": 0.030, "publish": 0.002})
    assert sum(sums.values()) == pytest.approx(0.033)


def test_a_score_that_is_no_number_does_not_spoil_the_sum() -> None:
    metrics = Metrics()
    for score in (0.5, math.nan, math.inf):
        note(metrics, score=score)
    found = samples(metrics)
    assert found["usert_image_score_ratio_sum", "probe"] == 0.5
    assert found["usert_image_score_ratio_count", "probe"] == 1


def test_two_servers_of_one_process_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    note(one)
    assert ("usert_images_total", "live", "probe") in samples(one)
    assert ("usert_images_total", "live", "probe") not in samples(other)


def test_no_name_of_a_stream_breaks_the_text_or_forges_a_line() -> None:
    metrics = Metrics()
    for stream in HOSTILE:
        note(metrics, stream)
    assert all(character == "\n" or character.isprintable() for character in metrics.text().decode("utf-8"))
    counted = {key[2]: value for key, value in samples(metrics).items() if key[0] == "usert_images_total"}
    assert len(counted) == len(HOSTILE)
    assert set(counted.values()) == {1}
    assert "forged" not in counted
    assert {"Ärztin 超音波", "back\\slash", "half \\ud800 of a pair"} <= set(counted)


def test_names_beyond_the_most_are_counted_together() -> None:
    metrics = Metrics()
    for number in range(3 * MAX_LABELS):
        note(metrics, f"stream {number}")
    size = len(metrics.text())
    for number in range(3 * MAX_LABELS, 100 * MAX_LABELS):
        note(metrics, f"stream {number}")
    assert len(metrics.text()) < 1.01 * size  # the numbers grow, the series do not
    counted = {key[2]: value for key, value in samples(metrics).items() if key[0] == "usert_images_total"}
    assert len(counted) == MAX_LABELS + 1
    assert counted[OTHER] == 99 * MAX_LABELS
    assert sum(counted.values()) == 100 * MAX_LABELS


def test_a_name_that_has_a_label_keeps_it() -> None:
    labels = StreamLabels(most=2)
    assert [labels.label(name) for name in ("a", "b", "c", "a", "b", "c")] == [
        "a",
        "b",
        OTHER,
        "a",
        "b",
        OTHER,
    ]


def test_an_image_costs_well_under_a_tenth_of_a_millisecond() -> None:
    metrics = Metrics()
    fastest = math.inf
    for _ in range(20):
        start_s = time.perf_counter()
        for _ in range(50):
            note(metrics)
        fastest = min(fastest, (time.perf_counter() - start_s) / 50)
    assert fastest < 100e-6


def test_names_follow_the_conventions() -> None:
    metrics = Metrics()
    metrics.watch(sources(frozen=lambda: 0))
    note(metrics)
    text = metrics.text().decode("utf-8")
    for family in text_string_to_metric_families(text):
        assert family.name.startswith(("usert_", "process_"))
        assert family.documentation
        assert not family.name.endswith(("_ms", "_percent", "_created"))
        assert family.type != "counter" or f"{family.name}_total" in text


def test_buckets_rise() -> None:
    for buckets in (AGES_S, STAGES_S, SCORES):
        assert list(buckets) == sorted(set(buckets))


def test_the_process_is_measured() -> None:
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes"} <= names(Metrics())
