"""What a sender to a live server can change, in place of the options of `usert import`.

Knows the lines that the checks of samples give, and the keys of a header.
"""

from __future__ import annotations

from .iq import CARRIER

_SIDE_BY_SIDE = "send I and Q of each sample side by side"
_REMEDIES = {
    "--kind iq-pairs and --demodulation-mhz": f"{_SIDE_BY_SIDE}, shape [N, M, 2], and demodulation_hz",
    "--kind iq-lines and --demodulation-mhz": f"{_SIDE_BY_SIDE}, shape [N, M, 2], and demodulation_hz",
    "--kind iq-pairs": _SIDE_BY_SIDE,
    "--kind iq-lines": _SIDE_BY_SIDE,
    CARRIER: "send the real part as RF, without demodulation_hz",
    "--kind rf": "send it without demodulation_hz",
    "--kind?": "is it RF?",
    "--transpose": "send rows first: of all lines sample 0, then sample 1",
    "--f0-mhz, or --fs-mhz?": "f0_hz, fs_hz, or shape (rows first)?",
    "--demodulation-mhz": "demodulation_hz",
    "--f0-mhz": "f0_hz",
    "--fs-mhz": "fs_hz",
}
"""What a sender can change in place of each option of `usert import`; longer ones before those within them."""


def for_header(line: str) -> str:
    """`line` of a check of samples, with each option of `usert import` replaced by the remedy of a sender."""
    for option, remedy in _REMEDIES.items():
        line = line.replace(option, remedy)
    return line
