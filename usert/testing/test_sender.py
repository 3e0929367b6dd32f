"""The tests of a running sender, one for each check: `pytest --pyargs usert.testing --usert-rf ENDPOINT`."""

from __future__ import annotations

import pytest

from usert.testing.check import Report
from usert.testing.sender_check import CHECKS


@pytest.mark.parametrize("name", CHECKS)
def test_sender(name: str, usert_sender_report: Report) -> None:
    """The checks of that name found nothing; skipped where nothing could be checked."""
    found = [check for check in usert_sender_report.checks if check.name == name]
    failures = [check for check in found if check.verdict == "FAILED"]
    if failures:
        lines = [f"{check.stream}: {check.found}\n  -> {check.remedy}" for check in failures]
        pytest.fail("\n".join(lines), pytrace=False)
    if not any(check.verdict == "passed" for check in found):
        pytest.skip("; ".join(check.found for check in found) or "the sender gives nothing to check it by")
