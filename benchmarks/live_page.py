"""The live page with no, one and five viewers: how often it shows an image, how old, and what the server does.

Simulated scanner, `usert serve` with the default bundle and `usert view` with B-mode, each a process of its own on
this machine. Viewers are browsers without a screen (`--browser`, needs playwright and chromium: images drawn, at the
frame that drew them) or WebSockets that acknowledge as a page does (images arrived). Asserts first that what is shown
is the lesion, less strained than what is around it. The last line is JSON.

    python benchmarks/live_page.py --seconds 20 --rate 10 --threads 1 [--browser]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import harness  # noqa: F401
import numpy as np
from server_process import UsertProcess
from vitals import Vitals
from websockets.sync.client import connect

from usert.runtime.clients.control_client import ControlClient
from usert.runtime.protocol.age import now_ns
from usert.runtime.protocol.commands import Status
from usert.runtime.sources.simulated import SIZES, LesionRatio, simulated_scanner
from usert.runtime.view.planes import strain_of, unpack

VIEWERS = (0, 1, 5)
_LOOPBACK = "tcp://127.0.0.1:0"
_DRAWN = """() => {
  const canvas = document.getElementById('canvas');
  window.drawn = [];
  let last = canvas.dataset.drawn;
  new MutationObserver(() => {
    if (canvas.dataset.drawn !== last) window.drawn.push(Number(canvas.dataset.ageMs));
    last = canvas.dataset.drawn;
  }).observe(canvas, { attributeFilter: ['data-drawn'] });
}"""


class SocketViewer:
    """Takes every picture and acknowledges it; `ages` grows."""

    def __init__(self, url: str) -> None:
        self.ages: list[float] = []
        self.last = b""
        self._ended = False
        self._thread = threading.Thread(target=self._watch, args=(url.replace("http", "ws", 1) + "stream",))

    def __enter__(self) -> SocketViewer:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended = True
        self._thread.join()

    def _watch(self, url: str) -> None:
        with connect(url, compression=None, max_size=None) as socket:
            while not self._ended:
                try:
                    message = socket.recv(timeout=0.1)
                except TimeoutError:
                    continue
                if isinstance(message, bytes):
                    fields, _ = unpack(message, ())
                    self.ages.append(now_ns() / 1e6 - fields["born_ms"])
                    self.last = message
                    socket.send(json.dumps({"got": fields["id"]}))

    def begin(self) -> None:
        self.ages.clear()

    def end(self) -> list[float]:
        return self.ages[:]


class PageViewer:
    """A page in a browser; ages are those of images when they were drawn."""

    def __init__(self, page: Any, url: str) -> None:
        self._page = page
        page.goto(url)
        page.wait_for_selector("#canvas[data-drawn]", timeout=60_000)

    def begin(self) -> None:
        self._page.evaluate(_DRAWN)

    def end(self) -> list[float]:
        ages: list[float] = self._page.evaluate("() => window.drawn")
        return ages


@contextmanager
def viewers(count: int, url: str, browser: Any) -> Iterator[list[Any]]:
    """So many, who see something."""
    with ExitStack() as stack:
        if browser is None:
            found: list[Any] = [stack.enter_context(SocketViewer(url)) for _ in range(count)]
        else:
            found = []
            for _ in range(count):
                page = browser.new_page(viewport={"width": 1280, "height": 720})
                stack.callback(page.close)
                found.append(PageViewer(page, url))
        yield found


def measured(
    watching: list[Any], view: int, server: int, controller: ControlClient, seconds: float
) -> dict[str, Any]:
    """What all of them saw in that time, and what view and server did."""
    time.sleep(2)
    status = Status()
    for one in watching:
        one.begin()
    begin, before = time.monotonic(), controller.ask(status)["output"]["images"]
    vitals = {"view": Vitals.of(view).cpu_s, "server": Vitals.of(server).cpu_s}
    time.sleep(seconds)
    spent_s = time.monotonic() - begin
    output = controller.ask(status)["output"]
    cpu = {"view": Vitals.of(view).cpu_s, "server": Vitals.of(server).cpu_s}
    seen = [one.end() for one in watching]
    ages = sorted(age for some in seen for age in some)
    row: dict[str, Any] = {
        "viewers": len(watching),
        "page_hz": round(statistics.mean(len(some) for some in seen) / spent_s, 1) if seen else None,
        "page_hz_least": round(min(len(some) for some in seen) / spent_s, 1) if seen else None,
        "server_hz": round((output["images"] - before) / spent_s, 1),
        "server_age_p50_ms": round(output["age_p50_ms"], 1),
        "view_cpu": round((cpu["view"] - vitals["view"]) / spent_s, 3),
        "server_cpu": round((cpu["server"] - vitals["server"]) / spent_s, 3),
    }
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        row[f"page_age_{name}_ms"] = (
            round(ages[min(len(ages) - 1, int(share * len(ages)))], 1) if ages else None
        )
    return row


def assert_lesion(url: str, size: str) -> None:
    """What is shown is strain of the phantom: lower inside the lesion."""
    lesion = LesionRatio(simulated_scanner(size))
    with SocketViewer(url) as viewer:
        for _ in range(600):
            time.sleep(0.1)
            if not viewer.last:
                continue
            fields, planes = unpack(viewer.last, ["strain", "quality"])
            if fields["state"] == "live" and abs(fields["readable_strain"]) > 0.003:
                down, across = planes["strain"].step
                whole = np.kron(strain_of(planes["strain"]), np.ones((down, across)))[
                    : SIZES[size][0], : SIZES[size][1]
                ]
                assert 0.3 < lesion.of(whole) < 0.65, lesion.of(whole)
                return
    raise AssertionError("no live image in a minute")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--size", default="small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--browser", action="store_true")
    options = parser.parse_args()
    source_words = ["replay", "--simulate", "--size", options.size, "--rate", str(options.rate)]
    with ExitStack() as stack:
        source = stack.enter_context(UsertProcess(*source_words, "--publish", _LOOPBACK))
        rf = source.wait_for(r"rf on (\S+)")
        serve_words = ["serve", "--rf", rf, "--publish", _LOOPBACK, "--control", _LOOPBACK, "--lag", "4"]
        server = stack.enter_context(UsertProcess(*serve_words, "--threads", str(options.threads)))
        strain, control = server.wait_for(r"strain on (\S+)"), server.wait_for(r"control on (\S+)")
        view = stack.enter_context(
            UsertProcess("view", "--strain", strain, "--rf", rf, "--http", "127.0.0.1:0")
        )
        url = view.wait_for(r"page on (\S+)")
        controller = stack.enter_context(ControlClient(control))
        assert_lesion(url, options.size)
        browser = None
        if options.browser:
            from playwright.sync_api import sync_playwright

            playwright = stack.enter_context(sync_playwright())
            path = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            stack.callback(browser.close)
        rows = []
        for count in VIEWERS:
            with viewers(count, url, browser) as watching:
                rows.append(measured(watching, view.pid, server.pid, controller, options.seconds))
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    print(json.dumps({"benchmark": "live_page", **vars(options), "rows": rows}))


if __name__ == "__main__":
    main()
