"""The whole way, in a real browser: simulated scanner, `usert serve` with the default bundle, `usert view`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from browser import Open, Screen
from live import TIMEOUT_S

from usert.runtime.sources.simulated import LesionRatio, simulated_scanner

pytestmark = pytest.mark.slow  # a browser and a clock: minutes, and where there is Chromium

RATE_HZ = 4
STALE_MS = 4000
"""Generous: a busy CPU takes most of a second for an image."""
_LOOPBACK = "tcp://127.0.0.1:0"


@contextmanager
def command(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """`usert WORDS`, ended at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "usert", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def told(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(pattern, line):
            return match[1]
    raise AssertionError(process.stderr.read() if process.stderr else "")


@pytest.fixture
def theatre(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The source, and the address of the page."""
    records = tmp_path / "records"
    records.mkdir()
    with ExitStack() as stack:
        source = stack.enter_context(
            command("replay", "--simulate", "--rate", str(RATE_HZ), "--publish", _LOOPBACK)
        )
        rf = told(source, r"rf on (\S+)")
        server = stack.enter_context(
            command(
                *("serve", "--rf", rf, "--publish", _LOOPBACK, "--threads", "1", "--lag", "4"),
                *("--control", _LOOPBACK, "--record-folder", records),
            )
        )
        strain, control = told(server, r"strain on (\S+)"), told(server, r"control on (\S+)")
        view = stack.enter_context(
            command(
                "view",
                "--strain",
                strain,
                "--rf",
                rf,
                "--control",
                control,
                "--http",
                "127.0.0.1:0",
                "--stale-ms",
                str(STALE_MS),
            )
        )
        yield source, told(view, r"page on (\S+)")


def test_scanner_to_screen(theatre: tuple[subprocess.Popen[str], str], look: Open, tmp_path: Path) -> None:
    source, url = theatre
    screen = look(url)
    screen.wait_state("live")
    first = screen.drawn
    screen.until(lambda: screen.drawn > first + 5)
    assert [panel["kind"] for panel in screen.panels()] == ["bmode", "strain"]
    the_known_ratio(screen)
    a_record(screen, tmp_path / "records")
    source_pulled(screen, source)


def the_known_ratio(screen: Screen) -> None:
    scanner = simulated_scanner("small")
    lesion = scanner.lesion
    half = 0.6 * lesion.radius_mm
    depth = (lesion.centre_z_mm - half, lesion.centre_z_mm + half)
    screen.draw((*depth, lesion.centre_x_mm - half, lesion.centre_x_mm + half))
    screen.draw((*depth, 0.3, lesion.centre_x_mm - 1.4 * lesion.radius_mm))
    screen.expect("#ratio-more", "10 images", timeout_s=120)
    value, spread = map(float, screen.text("#ratio-value").split(" ± "))
    true = LesionRatio(scanner).true(8, 12)
    assert 0.4 < true < 0.55
    assert value == pytest.approx(true, abs=0.1)
    assert 0 < spread < 0.15


def a_record(screen: Screen, folder: Path) -> None:
    screen.press("r")
    screen.expect("#record", re.compile(r"Stop record \([1-9]"), timeout_s=120)
    screen.page.locator("#record").click()
    screen.expect("#record", re.compile("^Record$"), timeout_s=60)
    (record,) = folder.iterdir()
    assert re.fullmatch(r"page-\d{8}-\d{6}\.h5", record.name)


def source_pulled(screen: Screen, source: subprocess.Popen[str]) -> None:
    """No image is shown as live for longer than the limit, by the page's own clock at every frame of the screen."""
    screen.wait_state("live")
    screen.watch_ages()
    source.terminate()
    screen.wait_state("stale")
    screen.expect("#why", "No new image for", timeout_s=60)
    assert screen.age_ms > STALE_MS
    assert 0 < screen.oldest_live_ms <= STALE_MS
