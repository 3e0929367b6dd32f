"""Loading another bundle while a server runs: opened, warmed up and checked in a thread of its own.

All files are hashed before they are opened and again when the first frames are warm, since somebody may copy to the
folder meanwhile.
Invariant: an engine opened here is either taken or closed, whatever goes wrong.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from usert.bundle import Bundle
from usert.bundle.manifest import Manifest
from usert.errors import BundleError, EngineError, FrameError, UsertError

from ..engines.bundle_engine import first_line
from ..engines.interface import Engine, FrameFormat
from ..imaging.estimate import EstimatedPair
from ..imaging.image_quality import ImageQualityRule
from ..imaging.live_or_held import HoldRule
from .bundle_check import BundleCheck, check_engine, run_noise

Opener = Callable[[Bundle], Engine]

_GRACE_S = 2.0
"""How long `close` waits for a bundle that is loading."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBundle:
    """A bundle with its engine open and checked; its receiver must close the engine."""

    engine: Engine
    path: Path
    bundle_sha256: str
    weights_sha256: str
    quality_rule: ImageQualityRule
    """The server's rule, with the strain that the new weights were trained for."""
    frames: tuple[FrameFormat, ...]
    """Frames that the engine is warm for."""
    check: BundleCheck | None
    """How the engine compared with the running one; None where there was no pair to compare on."""

    def fields(self) -> dict[str, Any]:
        """The values that the command `bundle` replies with."""
        return {
            "bundle": str(self.path),
            "bundle_sha256": self.bundle_sha256,
            "weights_sha256": self.weights_sha256,
            "engine": self.engine.name,
            "shapes": tuple(dict.fromkeys(each.shape for each in self.frames)),
            "check": None if self.check is None else asdict(self.check),
        }


class BundleSwap:
    """Loads one bundle at a time. `start` and `take` are for any thread, and do not wait for the loading one."""

    def __init__(self, *, quality_rule: ImageQualityRule | None = None, hold: HoldRule | None = None) -> None:
        """`quality_rule`, `hold`: the rules of the server."""
        self._quality_rule = quality_rule or ImageQualityRule()
        self._held_score = (hold or HoldRule()).held_score
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._future: Future[PreparedBundle] | None = None
        self._under_way: Path | None = None
        """Folder that is being loaded, until its outcome is taken, or its loading ends after it was cancelled."""
        self._closed = False

    def start(
        self,
        path: str | os.PathLike[str],
        *,
        opener: Opener,
        frames: Sequence[FrameFormat],
        trial: EstimatedPair | None,
    ) -> Future[PreparedBundle]:
        """Begin to load the bundle at `path`, for `frames`; without a `trial` pair the engine runs on noise.

        `frames` with the scans of their sessions: frames of one shape and another sampling may need another graph.
        `opener` is called in the loading thread. The future carries figures and errors; the engine comes by `take`.
        `cancel()` of the future cancels the loading. Errors, here: `BundleError` until the outcome of the previous
        call was taken, and after `close`; in the future: a `UsertError` that names the bundle.
        """
        folder = Path(path)
        return self._begin(
            folder, lambda future: self._prepared(folder, opener, tuple(frames), trial, future)
        )

    def warm_further(self, prepared: PreparedBundle, frames: Sequence[FrameFormat]) -> Future[PreparedBundle]:
        """Warm the engine of `prepared`, as `take` gave it, up for further `frames`; then it is taken again.

        Errors: as `start`; the engine is closed then.
        """
        return self._begin(prepared.path, lambda future: _warmer(prepared, tuple(frames), future))

    def _begin(
        self, folder: Path, prepare: Callable[[Future[PreparedBundle]], PreparedBundle]
    ) -> Future[PreparedBundle]:
        future = Future[PreparedBundle]()
        with self._lock:
            if self._closed:
                raise BundleError(f"bundle {folder}: the server is closing, no bundle is loaded any more")
            if self._under_way is not None:
                raise BundleError(
                    f"bundle {folder}: got a change while {self._under_way} is under way, expected one at a time; "
                    "try again when that is done"
                )
            self._under_way, self._future = folder, future
            self._thread = threading.Thread(
                target=self._work, args=(folder, partial(prepare, future), future), name="bundle", daemon=True
            )
            self._thread.start()
        return future

    def take(self) -> PreparedBundle | None:
        """The loaded bundle, once; its engine is then the caller's to close. None while there is none.

        Errors: the error of the loading, once.
        """
        with self._lock:
            future = self._future
            if future is None or not future.done() or future.cancelled():
                return None
            self._under_way = self._future = None
        return future.result()

    def close(self, wait_s: float = _GRACE_S) -> None:
        """Cancel the loading and close an engine that was not taken; idempotent.

        Waits `wait_s` at most, for a library cannot be interrupted; what it opens later is closed then.
        """
        with self._lock:
            self._closed = True
            thread, future = self._thread, self._future
            if future is not None:
                future.cancel()
        with suppress(UsertError):
            if (prepared := self.take()) is not None:
                _close(prepared.engine)
        if thread is not None:
            thread.join(wait_s)
            if thread.is_alive():
                log.warning(
                    "bundle %s: still loading while the server closes; it is closed when it has loaded",
                    self._under_way,
                )

    def _work(
        self, folder: Path, prepare: Callable[[], PreparedBundle], future: Future[PreparedBundle]
    ) -> None:
        outcome: PreparedBundle | UsertError
        try:
            outcome = prepare()
        except UsertError as error:
            named = str(error).startswith(f"bundle {folder}: ")
            outcome = error if named else type(error)(f"bundle {folder}: {error}")
        except BaseException as error:  # an engine runs foreign code, and the client must have its answer
            outcome = EngineError(f"bundle {folder}: {' '.join(str(error).split()) or type(error).__name__}")
        with self._lock:
            wanted = future.set_running_or_notify_cancel()
            if not wanted:
                self._under_way = self._future = None
            elif isinstance(outcome, PreparedBundle):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)
        if not wanted and isinstance(outcome, PreparedBundle):
            _close(outcome.engine)

    def _prepared(
        self,
        folder: Path,
        opener: Opener,
        frames: tuple[FrameFormat, ...],
        trial: EstimatedPair | None,
        future: Future[PreparedBundle],
    ) -> PreparedBundle:
        bundle = Bundle.load(folder)
        manifest = bundle.manifest
        least = FrameFormat(manifest.graphs[0].shape or (2 * manifest.strain_window_samples, 64))
        frames = frames or (least,)
        with ExitStack() as stack:
            quality_rule = replace(self._quality_rule, trained_strain=trained_strain(manifest))
            _check_wanted(future)
            engine = opener(bundle)
            stack.callback(_close, engine)
            taken = []
            for each in frames:
                _check_wanted(future)
                try:
                    engine.warm_up(*each)
                    taken.append(each)
                except FrameError as error:  # of one source, whose pairs fail alike now: not another's
                    log.warning("bundle %s: %s", folder, error)
            _check_wanted(future)
            check = None
            if trial is None:
                run_noise(engine, (*taken, least)[0])
            else:
                check = check_engine(engine, trial, quality_rule=quality_rule, held_score=self._held_score)
            bundle.verify()
            prepared = PreparedBundle(
                engine=engine,
                path=bundle.folder,
                bundle_sha256=bundle.sha256,
                weights_sha256=manifest.weights.sha256,
                quality_rule=quality_rule,
                frames=frames,
                check=check,
            )
            stack.pop_all()
        return prepared


def _warmer(
    prepared: PreparedBundle, frames: tuple[FrameFormat, ...], future: Future[PreparedBundle]
) -> PreparedBundle:
    """`prepared`, warm for `frames`, too, as far as its engine takes them: those of one source are not another's."""
    with ExitStack() as stack:
        stack.callback(_close, prepared.engine)
        for each in frames:
            _check_wanted(future)
            try:
                prepared.engine.warm_up(*each)
            except Exception as error:  # as in a session that begins later: its pairs will fail alike
                log.warning("bundle %s: %s", prepared.path, first_line(error))
        stack.pop_all()
    return replace(prepared, frames=(*prepared.frames, *frames))


def trained_strain(manifest: Manifest) -> tuple[float, float] | None:
    """Range of |mean strain| that the weights were trained for, fractions; None if unknown."""
    trained = manifest.input.trained_for
    if trained is None:
        return None
    low, high = trained.strain_percent
    return low / 100, high / 100


def _check_wanted(future: Future[PreparedBundle]) -> None:
    if future.cancelled():
        raise CancelledError


def _close(engine: Engine) -> None:
    try:
        engine.close()
    except Exception as error:  # foreign code; what went wrong before says more
        log.warning("bundle: %s does not close: %s", engine.name, first_line(error))
