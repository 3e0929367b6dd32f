"""The pages that the monitor server shows of a live server.

Knows metrics, health and pages; no sockets. Invariant: a server that should be left alone answers 200, one that
should not 503.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from ..protocol.age import now_ns
from .health import Health
from .http_connection import Page
from .metrics import CONTENT_TYPE, Metrics


def monitor_pages(metrics: Metrics, health: Health) -> dict[str, Callable[[], Page]]:
    """By path, for `MonitorServer`."""

    def show_metrics() -> Page:
        return Page(status=HTTPStatus.OK, content_type=CONTENT_TYPE, body=metrics.text())

    def show_health() -> Page:
        report = health.report(now_ns())
        return Page(
            status=HTTPStatus.OK if report.healthy else HTTPStatus.SERVICE_UNAVAILABLE,
            content_type="application/json",
            body=f"{report.to_json()}\n".encode(),
        )

    return {"/metrics": show_metrics, "/health": show_health}
