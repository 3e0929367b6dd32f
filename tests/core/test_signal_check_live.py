"""What a check of samples tells a sender to a live server, who has no options of `usert import`."""

from __future__ import annotations

import re
from pathlib import Path

import usert.signal_check
from usert.signal_check import for_header


def test_every_option_in_the_checks_of_samples_has_a_remedy() -> None:
    options = re.compile(r"--[a-z][a-z0-9-]*")
    source = "".join(path.read_text() for path in Path(usert.signal_check.__file__).parent.glob("*.py"))
    texts = [
        re.sub(r"iq-\{.*?\}", "iq-pairs", text) for text in re.findall(r'"([^"\n]*--[a-z][^"\n]*)"', source)
    ]
    assert len(texts) > 5
    assert [text for text in texts if options.search(for_header(text))] == []
