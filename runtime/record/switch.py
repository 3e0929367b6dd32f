"""Starts and stops recording while the server runs.

Opening and closing wait for the disk, so both run in a thread of their own. Invariant: there is at most one recorder,
and one that was started here is closed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usert.errors import OptionError

from .recorder import Recorder, RecorderStats


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBundle:
    """The bundle that makes the images of a record, and how it was asked for."""

    folder: Path | None
    """None: the one that the server was started with."""
    engine: str = ""
    precision: str = ""
    """Names of engine and precision; empty: those that the server was started with."""


MakeRecorder = Callable[[Path, bool, RunningBundle, str], Recorder]
"""Makes a recorder to a file, with displacement or without, of the images of a bundle, for a case; not open yet."""

_SUFFIX = ".h5"


class RecordSwitch:
    """Starts and stops recording; `recorder`, safe to read in any thread, may change at any time."""

    def __init__(
        self,
        recorder: Recorder | None = None,
        *,
        folder: Path | None = None,
        make: MakeRecorder | None = None,
    ) -> None:
        """`recorder`: an open one, which the caller closes. `folder`: for records that are started here, by `make`."""
        self.recorder = recorder
        self._folder = folder
        self._make = make
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="record")
        self._begun: Recorder | None = None

    def start(
        self, name: str, *, displacement: bool, bundle: RunningBundle, case: str = ""
    ) -> Future[Mapping[str, Any]]:
        """Begin a record in a new file of the folder, of images by `bundle`, with the identifier of its `case`.

        Errors, in the future: `OptionError`, `RecordingError`.
        """
        return self._disk.submit(self._start, name, displacement, bundle, case)

    def stop(self) -> Future[Mapping[str, Any]]:
        """Stop the record, however it was started, after its queue is written. Errors, in the future: `OptionError`."""
        return self._disk.submit(self._stop)

    def close(self) -> None:
        """Stop the record that was started here; idempotent."""
        self._disk.shutdown()
        if self._begun is not None:
            self.recorder = None
            self._begun.__exit__(None, None, None)
            self._begun = None

    def _start(self, name: str, displacement: bool, bundle: RunningBundle, case: str) -> Mapping[str, Any]:
        if self._folder is None or self._make is None:
            raise OptionError(
                "record: this server has no folder for records: start it with --record-folder DIR"
            )
        if self.recorder is not None:
            raise OptionError(f"record: {self.recorder.path} is being recorded: stop it first (record-stop)")
        path = self._folder / name
        if path.parent != self._folder or name.startswith(".") or path.suffix != _SUFFIX:
            raise OptionError(
                f"record: got {name!r}, expected the name of a new file in {self._folder}, such as case7{_SUFFIX}"
            )
        recorder = self._make(path, displacement, bundle, case)
        recorder.__enter__()
        self._begun = self.recorder = recorder
        return {"record": str(recorder.path)}

    def _stop(self) -> Mapping[str, Any]:
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            raise OptionError("record-stop: nothing is being recorded")
        recorder.__exit__(None, None, None)
        self._begun = None
        return record_fields(recorder.stats)


def record_fields(stats: RecorderStats) -> dict[str, Any]:
    """The counts of a recorder as plain values for JSON."""
    counts = {
        what: {"received": kept.received, "recorded": kept.recorded, "missing": kept.missing}
        for what, kept in (("frames", stats.frames), ("images", stats.images))
    }
    return {"files": [str(path) for path in stats.files[-4:]], **counts}
