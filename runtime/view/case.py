"""The case that a page shows: the identifier of a patient or an examination, in memory alone, one for all viewers.

Who is examined is a fact of the room, not of a browser: a second viewer with an identifier of its own would put images
of one patient under the name of another. Invariant: an identifier is never in a log, a file name or a URL.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from usert.errors import UsertError

from ..protocol.age import now_ns
from ..protocol.commands import MAX_CASE

_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories of what cannot be seen: controls, marks of direction, private characters."""


class Refusal(UsertError):
    """An order of a viewer that is refused: a key of the page's texts with its values, and the line in English."""

    def __init__(self, key: str, line: str, **values: Any) -> None:
        super().__init__(line)
        self.key = key
        self.values = values

    @property
    def fields(self) -> dict[str, Any]:
        """What the browser gets."""
        return {"key": self.key, "values": self.values, "error": str(self)}


def read_identifier(value: object) -> str:
    """The identifier that was typed or scanned, as a DICOM Patient ID; empty for none.

    At most 64 characters of any script (VR LO of PS3.5), in Unicode's composed form, without blanks around it. Errors:
    `Refusal`, whose line does not contain the identifier.
    """
    text = unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else None
    if text is None:
        raise Refusal("case.not_text", "case: expected an identifier as text")
    if len(text) > MAX_CASE:
        line = f"case: got {len(text)} characters, expected at most {MAX_CASE}"
        raise Refusal("case.too_long", line, count=len(text), most=MAX_CASE)
    if "\\" in text:
        raise Refusal("case.backslash", "case: a backslash cannot be part of an identifier")
    if any(unicodedata.category(sign) in _UNSEEN for sign in text):
        raise Refusal("case.unseen", "case: characters that cannot be seen cannot be part of an identifier")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case, from its beginning to the next one's."""

    number: int = 1
    """Number of the case since the page server was started."""
    identifier: str = field(default="", repr=False)
    """Empty: none was given."""
    began_ms: float = 0.0
    """Monotonic clock of this machine at its beginning, in ms: images born before belong to the case before."""
    began: datetime = field(default_factory=lambda: datetime.now().astimezone())

    def next(self, identifier: str) -> Case:
        """The case that follows, beginning now."""
        return Case(number=self.number + 1, identifier=identifier, began_ms=now_ns() / 1e6)

    @property
    def fields(self) -> dict[str, Any]:
        """What browsers get."""
        return {"number": self.number, "identifier": self.identifier, "began_ms": self.began_ms}
