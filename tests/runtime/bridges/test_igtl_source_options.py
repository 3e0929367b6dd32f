"""RF in by OpenIGTLink: options that are wrong, and addresses of other machines."""

from __future__ import annotations

from typing import Any

import pytest
from igtl_ends import BridgeProcess

from usert.errors import OptionError
from usert.runtime.bridges.igtl_frames import ImageReading
from usert.runtime.bridges.igtl_source import SourceConfig


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--receive", "10.0.0.7:18944"), "OpenIGTLink is not encrypted"),
        (("--receive", "scanner"), "--receive: got 'scanner', expected HOST:PORT"),
        (("--receive", "127.0.0.1:0"), "expected HOST:PORT"),
        (("--publish", "tcp://0.0.0.0:5555"), "--insecure"),
        (("--publish", "5555"), "expected tcp://HOST:PORT"),
        (("--f0-mhz", "0"), "--f0-mhz: expected a finite number above 0"),
        (("--fs-mhz", "10"), "--f0-mhz: expected less than half of --fs-mhz"),
        (("--key", "absent"), "expected --key and --allow"),
    ],
)
def test_what_is_wrong_is_one_line(words: tuple[str, ...], message: str) -> None:
    defaults = {"--receive": "127.0.0.1:1", "--publish": "tcp://127.0.0.1:0", "--f0-mhz": "7"}
    given = defaults | dict(zip(words[::2], words[1::2], strict=True))
    with BridgeProcess("igtl-rf", *(word for pair in given.items() for word in pair)) as bridge:
        code, _, errors = bridge.rest()
    assert (code, errors.count("\n")) == (1, 1)
    assert message in errors


def test_addresses_elsewhere_need_so_many_words() -> None:
    def config(receive: str, **changes: Any) -> SourceConfig:
        reading = ImageReading(f0_hz=7e6)
        return SourceConfig(receive=receive, publish="tcp://127.0.0.1:0", reading=reading, **changes)

    with pytest.raises(OptionError, match="--insecure"):
        config("10.0.0.7:18944")
    assert config("[::1]:18944").sender == ("::1", 18944)
    assert config("10.0.0.7:18944", insecure=True).sender == ("10.0.0.7", 18944)
