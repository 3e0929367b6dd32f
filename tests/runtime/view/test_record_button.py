"""What of a server's status the page shows."""

from __future__ import annotations

from typing import Any

import pytest

from usert.runtime.view.record_button import record_fields


@pytest.mark.parametrize(
    ("record", "running", "images", "missing"),
    [
        (None, False, 0, 0),
        ({"files": ["a.h5"], "frames": {}, "images": {}}, True, 0, 0),
        ({"files": [], "frames": {}, "images": {"recorded": 0, "missing": {"disk full": 3}}}, True, 0, 3),
        (
            {
                "files": ["a.h5"],
                "frames": {"received": 9, "recorded": 7, "missing": {"queue_full": 2}},
                "images": {"received": 5, "recorded": 4, "missing": {"queue_full": 1}},
            },
            True,
            4,
            3,
        ),
    ],
)
def test_a_record_is_told(record: Any, running: bool, images: int, missing: int) -> None:
    expected = {"error": "", "running": running, "images": images, "missing": missing}
    assert record_fields({"record": record}) == expected
    assert record_fields({}) == {"error": "", "running": False, "images": 0, "missing": 0}
