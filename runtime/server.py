"""The live server: RF frames in, the newest pair through the engine, strain images out.

Knows the engine only by its protocol. Invariant: no message, no frame and nothing that the engine raises ends
the server; only `stop()` does.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack
from functools import partial

import zmq

from .clock import age_at_server, clock_id, now_ns
from .config import ServerConfig
from .engine import Engine
from .gatekeeper import Gatekeeper
from .inbox import Inbox
from .link import Link
from .meter import Meter
from .pairing import ReceivedFrame
from .publication import strain_message
from .receiver import Receiver
from .record_file import RecordedImage
from .recorder import Recorder
from .service import POLL_MS, Service
from .stamp import Counters
from .stats import ServerStats
from .stream import Estimated, Shown, Stream
from .tally import Tally
from .wire import MAX_RF_BYTES, RFMessage, StrainMessage

_QUEUE_IMAGES = 2
"""A client that reads slower than this loses images; the server never waits for it."""
_SUBSCRIPTION_BYTES = 1024
"""The largest message that a client sends."""

log = logging.getLogger(__name__)


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
        self._inbox = Inbox(kept=config.kept, queue=config.every_frame, admitted=self._admitted)
        self._streams: dict[str, Stream] = {}
        self._meter = Meter()
        self._failed = Tally(log, "no image")
        self._cold = Tally(log, "engine does not warm up")
        self._unpaired = self._published = self._missed_deadlines = 0
        self._warm_shapes: set[tuple[int, int]] = set()

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
        self._receivers = [
            self._receiver(context, stack, origin) for origin in range(len(self._config.rf_endpoints))
        ]
        stack.callback(self._inbox.close)
        self.rf_endpoints = tuple(receiver.endpoint for receiver in self._receivers)

    def _receiver(
        self, context: zmq.Context[zmq.Socket[bytes]], stack: ExitStack, origin: int
    ) -> Receiver[RFMessage]:
        receiver: Receiver[RFMessage] = Receiver(
            context=context,
            endpoint=self._config.rf_endpoints[origin],
            socket_type=self._config.rf_type,
            bind=self._config.rf_bind,
            max_bytes=MAX_RF_BYTES,
            decode=RFMessage.from_parts,
            accept=partial(self._inbox.put, origin=origin),
            security=self._gatekeeper.security("rf"),
        )
        receiver.open()
        stack.callback(receiver.close)
        return receiver

    def run(self) -> None:
        """Serve until `stop()`."""
        with self._loop():
            while not self.stopping:
                for receiver in self._receivers:
                    receiver.check()
                self._output.renew()  # cuts off clients whose key was taken away
                taken = self._inbox.take(POLL_MS / 1e3)
                if taken is not None:
                    self._serve(*taken)

    @property
    def rf_endpoint(self) -> str:
        """Where the first RF socket really is."""
        return self.rf_endpoints[0]

    @property
    def stats(self) -> ServerStats:
        """The counts at this moment; for any thread."""
        counts = self._inbox.counts
        return ServerStats(
            received=counts.received,
            dropped=counts.dropped,
            lost=counts.lost,
            malformed=self._malformed,
            sessions=counts.sessions,
            duplicates=counts.duplicates,
            late=counts.late,
            turned_away=sum(counts.turned_away.values()),
            clock_jumps=counts.clock_jumps,
            streams=counts.sources,
            unpaired=self._unpaired,
            failed=self._failed.counts,
            published=self._published,
            missed_deadlines=self._missed_deadlines,
            output=self._meter.read(now_ns()),
        )

    @property
    def _malformed(self) -> dict[str, int]:
        return dict(sum((Counter(receiver.malformed.counts) for receiver in self._receivers), Counter()))

    def _admitted(self, frame: ReceivedFrame) -> None:
        """In the receiving threads, before an image can be made of the frame."""
        if self._recorder is not None:
            self._recorder.put_frame(frame)

    def _serve(self, current: ReceivedFrame, before: tuple[ReceivedFrame, ...]) -> None:
        stream = self._stream(current)
        if stream.frozen:
            shown = stream.frozen_image()
            if shown is None:
                self._unpaired += 1
            else:
                self._publish(shown)
            return
        reference = stream.reference(current, before)
        if reference is None:
            self._unpaired += 1
            return
        try:
            new = self._estimate(reference, current)
            shown = stream.show(new, strain_window=self._engine.strain_window_samples)
        except Exception as error:  # an engine runs foreign code: nothing that it raises may end the server
            self._failed.add(type(error).__name__, str(error))
            return
        message = self._publish(shown)
        if self._recorder is not None:
            self._recorder.put_image(RecordedImage.of(new, message, score=shown.newest.score))

    def _stream(self, current: ReceivedFrame) -> Stream:
        """That of the source of `current`, in the session of it."""
        name, frame = current.message.stream, current.message.frame
        if name not in self._streams:
            here = self._inbox.sources
            self._streams = {known: self._streams[known] for known in self._streams if known in here}
            self._streams[name] = Stream(self._config)
        stream = self._streams[name]
        if stream.session != current.session:
            log.info("session %d: %r, %d x %d %s", current.session, name, *frame.shape, frame.samples.dtype)
            stream.begin(current.session)
            self._warm_up(frame.shape)
        return stream

    def _warm_up(self, shape: tuple[int, int]) -> None:
        if shape in self._warm_shapes:
            return
        try:
            self._engine.warm_up(shape)
            self._warm_shapes.add(shape)
        except Exception as error:  # as in `_serve`; the pairs to come will fail alike, and be counted
            self._cold.add(type(error).__name__, str(error))

    def _estimate(self, reference: ReceivedFrame, current: ReceivedFrame) -> Estimated:
        matched_ns = now_ns()
        first, second = reference.message.frame, current.message.frame
        started_ns = now_ns()
        estimate = self._engine.run(first.samples, second.samples)
        return Estimated(
            reference=reference,
            current=current,
            estimate=estimate,
            engine=self._engine.name,
            weights_hash=self._weights_hash,
            matched_ns=matched_ns,
            started_ns=started_ns,
            ended_ns=now_ns(),
            mean_strain=float(estimate.strain.mean()),
            mean_quality=float(estimate.quality.mean()),
        )

    def _publish(self, shown: Shown) -> StrainMessage:
        current = shown.image.of.current
        published_ns = now_ns()
        age = age_at_server(
            time_ns=current.message.frame.time_ns,
            received_ns=current.received_ns,
            now_ns=published_ns,
            same_clock=current.message.clock == clock_id(),
        )
        self._meter.add(published_ns, age)
        self._published += 1  # all is counted before it is sent, or a client could know of it first
        self._missed_deadlines += shown.state == "live" and age.ms > self._config.deadline_ms
        message = strain_message(
            shown,
            counters=self._counters(),
            published_ns=published_ns,
            rule=self._config.judgement,
            deadline_ms=self._config.deadline_ms,
        )
        self._output.socket.send_multipart(message.to_parts(), copy=False)
        return message

    def _counters(self) -> Counters:
        counts = self._inbox.counts
        return Counters(
            received=counts.received,
            dropped=counts.dropped,
            malformed=sum(self._malformed.values()),
            published=self._published,
            lost=counts.lost,
            duplicates=counts.duplicates,
            late=counts.late,
            failed=self._failed.total,
            missed_deadlines=self._missed_deadlines,
        )
