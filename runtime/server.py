"""The live server: RF frames in, the newest pair through the engine, strain images out.

Knows the engine only by its protocol. Invariant: no message, no frame and nothing that the engine raises ends
the server; only `stop()` does.
"""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import zmq

from usert.errors import EngineError, OptionError

from .clock import age_at_server, clock_id, now_ns
from .endpoint import check_endpoint
from .engine import Engine, Estimate
from .gatekeeper import Gatekeeper
from .judgement import Judgement, JudgementRule, Reason, StateMachine, StateRule, judge
from .keys import Keys, ServerKeys
from .lag import LagControl, LagRule
from .link import Link
from .meter import Meter
from .pairing import PairingRule, ReceivedFrame, Sessions, choose_reference, reach
from .receiver import Receiver, ReceiverType
from .record_file import RecordedImage
from .recorder import Recorder
from .service import POLL_MS, Service
from .slot import Slot
from .stats import ServerStats
from .tally import Tally
from .wire import MAX_RF_BYTES, Counters, FrameStamp, RFMessage, State, StrainMessage

_QUEUE_IMAGES = 2
"""A client that reads slower than this loses images; the server never waits for it."""
_SUBSCRIPTION_BYTES = 1024
"""The largest message that a client sends."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Where frames come from, where images go, which frames are paired."""

    rf: str
    """Endpoint of the RF stream."""
    publish: str
    """Endpoint that clients connect to."""
    rf_type: ReceiverType = "sub"
    rf_bind: bool = False
    """Bind the RF endpoint instead of connecting to it."""
    insecure: bool = False
    """Allow endpoints beyond this machine without keys."""
    keys: ServerKeys | None = None
    """Who sees the images."""
    rf_keys: Keys | None = None
    """Whose frames are taken: those of a server if the RF socket binds, else those of a client."""
    pairing: PairingRule = field(default_factory=PairingRule)
    lag: LagRule | None = None
    """Let the lag follow the motion; None: always that of `pairing`."""
    judgement: JudgementRule = field(default_factory=JudgementRule)
    state: StateRule = field(default_factory=StateRule)

    def __post_init__(self) -> None:
        if self.rf_type not in ("sub", "pull"):
            raise OptionError(f"rf type: got {self.rf_type!r}, expected 'sub' or 'pull'")
        check_endpoint(self.rf, insecure=self.insecure, keyed=self.rf_keys is not None)
        check_endpoint(self.publish, insecure=self.insecure, keyed=self.keys is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """An estimate of a pair, its means, which are finite, and what it is worth."""

    reference: ReceivedFrame
    current: ReceivedFrame
    estimate: Estimate
    judgement: Judgement
    mean_strain: float
    mean_quality: float
    matched_ns: int
    started_ns: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean_strain) and math.isfinite(self.mean_quality)):
            raise EngineError("estimate: got strain or quality that is not finite")


class StrainServer(Service):
    """`with StrainServer(...) as server: server.run()`; the engine stays its maker's to close."""

    def __init__(
        self,
        *,
        engine: Engine,
        config: ServerConfig,
        weights_hash: str = "",
        recorder: Recorder | None = None,
    ) -> None:
        """`recorder`: open, and its maker's to close, after this."""
        super().__init__()
        self._recorder = recorder
        self._engine = engine
        self._config = config
        self._weights_hash = weights_hash
        self._sessions = Sessions()
        longest = None if config.lag is None else config.lag.most
        self._slot: Slot[ReceivedFrame] = Slot(kept=config.pairing.kept(longest))
        self._lag = LagControl(config.lag)
        self._states = StateMachine(config.state)
        self._good: _Image | None = None
        self._meter = Meter()
        self._failed = Tally(log, "no image")
        self._cold = Tally(log, "engine does not warm up")
        self._unpaired = self._published = self._session = 0
        self._warm_shape = (0, 0)

    def _open(self, stack: ExitStack) -> None:
        context = stack.enter_context(zmq.Context())
        self._gatekeeper = stack.enter_context(
            Gatekeeper(context, strain=self._config.keys, rf=self._config.rf_keys)
        )
        self._output = stack.enter_context(
            Link(
                context,
                zmq.PUB,
                self._config.publish,
                bind=True,
                security=self._gatekeeper.security("strain"),
                options={zmq.LINGER: 0, zmq.SNDHWM: _QUEUE_IMAGES, zmq.MAXMSGSIZE: _SUBSCRIPTION_BYTES},
            )
        )
        self.publish_endpoint = self._output.endpoint
        self._receiver: Receiver[RFMessage] = Receiver(
            context=context,
            endpoint=self._config.rf,
            socket_type=self._config.rf_type,
            bind=self._config.rf_bind,
            max_bytes=MAX_RF_BYTES,
            decode=RFMessage.from_parts,
            accept=self._accept,
            security=self._gatekeeper.security("rf"),
        )
        self._receiver.open()
        stack.callback(self._receiver.close)
        self.rf_endpoint = self._receiver.endpoint

    def run(self) -> None:
        """Serve until `stop()`."""
        with self._loop():
            while not self.stopping:
                self._receiver.check()
                self._output.renew()  # cuts off clients whose key was taken away
                taken = self._slot.take(POLL_MS / 1e3)
                if taken is not None:
                    self._serve(*taken)

    @property
    def stats(self) -> ServerStats:
        """The counts at this moment; for any thread."""
        counts = self._slot.counts
        return ServerStats(
            received=counts.received,
            dropped=counts.dropped,
            lost=self._sessions.lost,
            malformed=self._receiver.malformed.counts,
            sessions=self._sessions.number,
            unpaired=self._unpaired,
            failed=self._failed.counts,
            published=self._published,
            output=self._meter.read(now_ns()),
        )

    def _accept(self, message: RFMessage, arrived_ns: int) -> None:
        """In the receiving thread: it sees every frame, so that a drop hides no change of session."""
        session = self._sessions.admit(message)
        received = ReceivedFrame(message=message, received_ns=arrived_ns, session=session)
        if self._recorder is not None:
            self._recorder.put_frame(received)  # before an image can be made of it
        self._slot.put(received)

    def _serve(self, current: ReceivedFrame, kept: tuple[ReceivedFrame, ...]) -> None:
        if current.session != self._session:
            self._session = current.session
            self._start_session(current)
        rule = self._config.pairing
        if self._config.lag is not None:
            furthest = reach(current, kept, rule)
            rule = replace(rule, lag=self._lag.lag_for(current.message.frame.sequence, furthest))
        reference = choose_reference(current, kept, rule)
        if reference is None:
            self._unpaired += 1
            return
        newest = self._estimate(reference, current)
        if newest is None:
            return
        state = self._states.step(newest.judgement)
        if state == "live":
            self._good = newest
        shown = self._good if state == "held" and self._good is not None else newest
        message = self._publish(shown, state, self._states.reason)
        if self._recorder is not None:
            self._recorder.put_image(
                RecordedImage(
                    reference=newest.reference.message.frame.sequence,
                    current=newest.current.message.frame.sequence,
                    received_ns=newest.current.received_ns,
                    matched_ns=newest.matched_ns,
                    started_ns=newest.started_ns,
                    mean_strain=newest.mean_strain,
                    mean_quality=newest.mean_quality,
                    score=newest.judgement.score,
                    estimate=newest.estimate,
                    engine=self._engine.name,
                    message=message,
                )
            )

    def _start_session(self, first: ReceivedFrame) -> None:
        frame, stream = first.message.frame, first.message.stream
        log.info("session %d: %r, %d x %d %s", first.session, stream, *frame.shape, frame.samples.dtype)
        self._lag.reset()
        self._states.reset()
        self._good = None
        if frame.shape == self._warm_shape:
            return
        try:
            self._engine.warm_up(frame.shape)
            self._warm_shape = frame.shape
        except Exception as error:  # as in `_estimate`; the pairs to come will fail alike, and be counted
            self._cold.add(type(error).__name__, str(error))

    def _estimate(self, reference: ReceivedFrame, current: ReceivedFrame) -> _Image | None:
        matched_ns = now_ns()
        first, second = reference.message.frame, current.message.frame
        try:
            started_ns = now_ns()
            estimate = self._engine.run(first.samples, second.samples)
            judgement = judge(estimate, self._config.judgement, precompression=self._lag.precompression)
            image = _Image(
                reference=reference,
                current=current,
                estimate=estimate,
                judgement=judgement,
                mean_strain=float(estimate.strain.mean()),
                mean_quality=float(estimate.quality.mean()),
                matched_ns=matched_ns,
                started_ns=started_ns,
            )
        except Exception as error:  # an engine runs foreign code: nothing that it raises may end the server
            self._failed.add(type(error).__name__, str(error))
            return None
        self._lag.observe(
            reference=first.sequence,
            current=second.sequence,
            mean_strain=judgement.mean_strain,
            score=judgement.score,
            moving=judgement.moving,
        )
        return image

    def _publish(self, image: _Image, state: State, reason: Reason) -> StrainMessage:
        current = image.current
        frame, clock = current.message.frame, current.message.clock
        published_ns = now_ns()
        age = age_at_server(
            time_ns=frame.time_ns,
            received_ns=current.received_ns,
            now_ns=published_ns,
            same_clock=clock == clock_id(),
        )
        self._meter.add(published_ns, age)
        self._published += 1  # all is counted before it is sent, or a client could know of it first
        counts = self._slot.counts
        message = StrainMessage(
            stream=current.message.stream,
            session=current.session,
            reference=FrameStamp.of(image.reference.message.frame),
            current=FrameStamp.of(frame),
            source_clock=clock,
            server_clock=clock_id(),
            received_ns=current.received_ns,
            matched_ns=image.matched_ns,
            started_ns=image.started_ns,
            published_ns=published_ns,
            state=state,
            reason=reason,
            scan=frame.scan,
            counters=Counters(
                received=counts.received,
                dropped=counts.dropped,
                malformed=self._receiver.malformed.total,
                published=self._published,
            ),
            weights_hash=self._weights_hash,
            mean_strain=image.mean_strain,
            mean_quality=image.mean_quality,
            score=image.judgement.score,
            readable_strain=image.judgement.mean_strain,
            compression=image.judgement.compression,
            warnings=image.judgement.warnings,
            displacement=image.estimate.displacement,
            strain=image.estimate.strain,
            quality=image.estimate.quality,
        )
        self._output.socket.send_multipart(message.to_parts(), copy=False)
        return message
