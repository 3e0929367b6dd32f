"""Changes the case at the order of a viewer, for all of them.

Invariant: no record spans two cases, and nothing that a viewer has not saved is given up without a question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .case import Case, Refusal, read_identifier
from .record_button import RecordButton
from .viewer import Viewer, Viewers

InLoop = Callable[..., None]
"""Calls a function with arguments in the event loop, from any thread."""


class CaseDesk:
    """Holds the case; use it in the event loop's thread only."""

    def __init__(self, viewers: Viewers, in_loop: InLoop) -> None:
        self._viewers = viewers
        self._in_loop = in_loop
        self.button: RecordButton | None = None
        """Records of the strain server; None where there is no control endpoint."""
        self.ending = False
        """Whether a record is being ended for the next case: no other order of a case or a record is taken."""
        self.current = Case()
        self._show()

    def order(self, viewer: Viewer, value: Mapping[str, Any]) -> None:
        """Begin the case `identifier` of `value`, or name the one that has none.

        `answer`: empty, or what the person chose when asked: `clear`, or `keep` to give the images so far the
        identifier. The viewer is asked (text `case_question`) where something would be lost or a record runs.
        """
        try:
            wanted = read_identifier(value.get("identifier"))
        except Refusal as refusal:
            viewer.say("case_refused", refusal.fields)
            return
        if wanted == self.current.identifier:
            viewer.say("case", self.current.fields)
            return
        if self.ending:
            viewer.say(
                "case_refused",
                Refusal("case.changing", "case: another one is about to begin: try again").fields,
            )
            return
        answer = value.get("answer")
        unsaved = self._viewers.unsaved
        recording = self.button is not None and self.button.recording
        can_keep = not self.current.identifier
        keeps = answer == "keep" and can_keep
        if answer != "clear" and not keeps and (unsaved or recording):
            question = {"unsaved": unsaved, "recording": recording, "can_keep": can_keep}
            viewer.say("case_question", {"identifier": wanted, **question})
            return
        case = replace(self.current, identifier=wanted) if keeps else self.current.next(wanted)
        if recording and self.button is not None:
            self._end_record(self.button, viewer, case)
        else:
            self._change(case)

    def _end_record(self, button: RecordButton, viewer: Viewer, case: Case) -> None:
        self.ending = True
        button.press(
            False,
            on_error=lambda line: self._in_loop(self._stay, viewer, line),
            on_done=lambda: self._in_loop(self._change, case),
        )

    def _stay(self, viewer: Viewer, line: str) -> None:
        self.ending = False
        text = f"the record could not be ended, so the case stays: {line}"
        viewer.say("case_refused", Refusal("case.record_goes_on", text, reason=line).fields)

    def _change(self, case: Case) -> None:
        self.ending = False
        if case.number > self.current.number:  # begins when the record has ended
            case = self.current.next(case.identifier)
        self.current = case
        self._show()

    def _show(self) -> None:
        self._viewers.say("case", self.current.fields)
