"""The live server: RF frames in, the newest pair through the engine, strain images out.

Invariant: no message, no frame and nothing that the engine raises ends the server; only `stop()` does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from ..engines.interface import Engine, FrameFormat
from ..imaging.estimate import EstimatedPair
from ..imaging.frames import ReceivedFrame
from ..monitor.counts import ServerCounts
from ..monitor.health import Health
from ..monitor.metrics import Metrics
from ..protocol.age import Readings, now_ns
from ..protocol.rf_message import MAX_RF_BYTES, RFMessage, rf_decoder
from ..protocol.strain_message import StrainMessage
from ..record.file import RecordedImage
from ..record.recorder import Recorder
from ..record.switch import RecordSwitch
from ..transport.access import Authenticator
from ..transport.lifecycle import POLL_MS, Service
from ..transport.receiver import Receiver
from ..transport.socket import BoundSocket
from .bundle_swap import BundleSwap
from .config import ServerConfig
from .control_handlers import ControlHandlers, OpenBundle
from .control_socket import ControlServer
from .counters import FROZEN, ServerCounters
from .engine_runner import EngineRunner
from .frame_queue import FrameQueue
from .pairs_under_way import PairsUnderWay, StartedPair
from .status import status_fields
from .stream import Shown, Stream

_QUEUE_IMAGES = 2
"""Images that wait for a client; one that reads more slowly loses images, and the server never waits for it."""
_SUBSCRIPTION_BYTES = 1024
"""The largest message that a subscriber sends."""
_LOGGED_SESSIONS, _LOG_EVERY_NS = 10, 1_000_000_000
"""Sessions that are all logged, and the time between two after that: a source may begin one with every frame."""
_SILENT_NS = 5_000_000_000
"""Time after which a source that never sent anything is logged."""
_LINGER_MS = 200
"""How long the last image may take to leave."""

log = logging.getLogger(__name__)


class StrainServer(Service):
    """The server, open inside its `with` block: `with StrainServer(...) as server: server.run()`.

    The engine stays its maker's to close.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        config: ServerConfig,
        weights_hash: str = "",
        bundle: Path | None = None,
        warm: Iterable[FrameFormat] = (),
        switch: RecordSwitch | None = None,
        open_bundle: OpenBundle | None = None,
        metrics: Metrics | None = None,
        health: Health | None = None,
    ) -> None:
        """`bundle`: folder of the engine's bundle. `warm`: frames that the engine is warm for.

        `switch`: begins and ends records. `open_bundle`: opens another bundle on command; None: it cannot be changed.
        """
        super().__init__()
        self._config = config
        self.engine = EngineRunner(
            engine, quality_rule=config.quality_rule, weights_hash=weights_hash, bundle=bundle, warm=warm
        )
        """The engine that runs now."""
        self._switch = switch or RecordSwitch()
        self._frames = FrameQueue(kept=config.kept, queue=config.every_frame, admitted=self._admitted)
        self._streams: dict[str, Stream] = {}
        self._handlers = ControlHandlers(
            engine=self.engine,
            streams=lambda: self._streams,
            switch=self._switch,
            status=self._status,
            stop=self.stop,
            swap=BundleSwap(quality_rule=config.quality_rule, hold=config.hold),
            open_bundle=open_bundle,
            rectangles=config.rectangles,
        )
        self._logged_ns = 0
        self._opened_ns = now_ns()
        self._silence_logged = False
        self._health = health or Health(self._opened_ns)
        self._counters = ServerCounters(
            self._frames, health=self._health, metrics=metrics, deadline_ms=config.deadline_ms
        )

    def _open(self, stack: ExitStack) -> None:
        config = self._config
        stack.callback(self.engine.close)
        self._pairs = PairsUnderWay(self.engine, publish=self._publish, ended=self._frames.wake)
        stack.callback(self._pairs.close)
        stack.callback(self._switch.close)
        context = stack.enter_context(zmq.Context())
        keys = Authenticator(context, strain=config.keys, rf=config.rf_keys, control=config.control_keys)
        self._authenticator = stack.enter_context(keys)
        self._output = stack.enter_context(
            BoundSocket(
                context,
                zmq.PUB,
                config.publish,
                security=self._authenticator.access("strain"),
                options={
                    zmq.LINGER: _LINGER_MS,
                    zmq.SNDHWM: _QUEUE_IMAGES,
                    zmq.MAXMSGSIZE: _SUBSCRIPTION_BYTES,
                },
            )
        )
        self.publish_endpoint = self._output.endpoint
        self._control: ControlServer | None = None
        if config.control is not None:
            self._control = stack.enter_context(
                ControlServer(
                    context=context,
                    endpoint=config.control,
                    handle=self._handlers.handle,
                    access=self._authenticator.access("control"),
                )
            )
        self.control_endpoint = None if self._control is None else self._control.endpoint
        stack.callback(self._handlers.close)
        self._receivers = [
            stack.enter_context(self._receiver(context, origin)) for origin in range(len(config.rf_endpoints))
        ]
        stack.callback(self._frames.close)
        self._counters.malformed = [receiver.malformed for receiver in self._receivers]
        self.rf_endpoints = tuple(receiver.endpoint for receiver in self._receivers)

    def _receiver(self, context: zmq.Context[zmq.Socket[bytes]], origin: int) -> Receiver[RFMessage]:
        return Receiver(
            context=context,
            endpoint=self._config.rf_endpoints[origin],
            socket_type=self._config.rf_type,
            bind=self._config.rf_bind,
            max_bytes=MAX_RF_BYTES,
            decode=rf_decoder(self._config.rows),
            accept=partial(self._frames.put, origin=origin),
            security=self._authenticator.security("rf"),
        )

    def run(self) -> None:
        """Serve until `stop()`."""
        with self._loop():
            ended = self._pairs.oldest_has_ended
            while not self.stopping:
                self._health.turn(self._pairs.oldest_ns)  # an engine that hangs is no turn
                for worker in filter(None, (self._authenticator, self._control, *self._receivers)):
                    worker.check()
                self._output.renew()  # disconnects clients whose key was revoked
                if self._handlers.waiting:
                    self._pairs.finish()
                    self._handlers.run_waiting()
                self._counters.log_repeated()
                self._log_silent_sources()
                if self._pairs.has_room(POLL_MS / 1e3) and (taken := self._frames.take(POLL_MS / 1e3, ended)):
                    self._serve(*taken)
            self._pairs.finish()

    @property
    def recorder(self) -> Recorder | None:
        """The recorder that is open now, if any; for any thread."""
        return self._switch.recorder

    @property
    def frozen_streams(self) -> int:
        """Number of streams that are frozen; for any thread."""
        return sum(stream.frozen for stream in list(self._streams.values()))

    @property
    def counts(self) -> ServerCounts:
        """The counts at this moment; for any thread."""
        return self._counters.counts

    @property
    def output(self) -> Readings:
        """Rate and ages of the images at this moment; for any thread."""
        return self._counters.output

    def _status(self) -> dict[str, Any]:
        return status_fields(
            counts=self.counts,
            output=self.output,
            engine=self.engine,
            streams=dict(self._streams),
            recorder=self.recorder,
            health=self._health.report(now_ns()),
            uptime_s=(now_ns() - self._opened_ns) / 1e9,
            denied=self._authenticator.denied.total,
        )

    def _admitted(self, frame: ReceivedFrame) -> None:
        """In the receiving threads, before an image can be made of the frame."""
        self._health.frame_ns = frame.received_ns
        if (recorder := self.recorder) is not None:
            recorder.put_frame(frame)

    def _serve(self, current: ReceivedFrame, before: tuple[ReceivedFrame, ...]) -> None:
        """Start the image of `current`, and publish what has ended; `before`: frames of its source, oldest first."""
        stream = self._stream(current)
        stream.first_frames.look(current)
        if stream.frozen:
            stream.note(current, no_image=FROZEN)
            if (frozen := stream.frozen_image()) is None:
                self._counters.unpaired(FROZEN)
            else:
                self._send(self._message(frozen))
            return
        if (reference := stream.reference(current, before)) is None:
            reason = self._counters.unpaired(stream.explain_unpaired(current, before))
            stream.note(current, no_image=reason)
            return
        self._pairs.start_pair(stream, reference, current)

    def _publish(self, started: StartedPair, estimated: Future[EstimatedPair]) -> None:
        """Publish the image of a pair that has ended."""
        stream = started.stream
        try:
            pair = estimated.result()
            window = self.engine.engine.strain_window_at(pair.current.frame.scan)
            shown = stream.show(pair, rule=self.engine.quality_rule, strain_window=window)
        except Exception as error:  # an engine runs foreign code: nothing that it raises may end the server
            stream.note(started.current, no_image=self._counters.failed(error))
            return
        stream.note(started.current)
        message = self._message(shown, pair)
        if (
            recorder := self.recorder
        ) is not None:  # before a client may have seen the image, and end the record
            recorder.put_image(RecordedImage.of(pair, message, quality=shown.newest))
        self._send(message)
        self._handlers.on_pair(pair)

    def _stream(self, current: ReceivedFrame) -> Stream:
        name, frame = current.stream, current.frame
        if (stream := self._streams.get(name)) is None:
            stream = Stream(self._config)
            stream.set_rectangles(self._handlers.rectangles)
            served = self._frames.sources
            self._streams = {k: s for k, s in self._streams.items() if k in served} | {name: stream}
        if stream.session != current.session:
            self._pairs.finish()
            if current.session <= _LOGGED_SESSIONS or current.received_ns - self._logged_ns >= _LOG_EVERY_NS:
                self._logged_ns = current.received_ns
                log.info(
                    "session %d: %r, %d x %d %s%s (%s)",
                    *(current.session, name, *frame.shape, frame.samples.dtype),
                    " IQ" if frame.scan.kind == "iq" else "",
                    current.session_reason,
                )
                if opening := self.engine.opening(frame):
                    log.info("%s", opening)
            stream.begin(current.session, FrameFormat(frame.shape, frame.scan), current.session_reason)
            self._health.turn(now_ns(), warming=True)
            self.engine.warm_up(frame)
            self._health.turn(now_ns())
        return stream

    def _log_silent_sources(self) -> None:
        """Log once those endpoints that no message came from in the first seconds."""
        if self._silence_logged or now_ns() - self._opened_ns < _SILENT_NS:
            return
        self._silence_logged = True
        for receiver in () if self._config.rf_bind else self._receivers:
            if not receiver.received:
                log.warning(
                    "no frame yet from %s: is the source running? One side must bind: --rf-bind if it connects",
                    receiver.endpoint,
                )

    def _message(self, shown: Shown, pair: EstimatedPair | None = None) -> StrainMessage:
        published_ns = now_ns()
        return shown.message(
            counters=self._counters.image(shown, published_ns, pair=pair),
            published_ns=published_ns,
            rule=self.engine.quality_rule,
            deadline_ms=self._config.deadline_ms,
        )

    def _send(self, message: StrainMessage) -> None:
        self._output.socket.send_multipart(message.to_parts(), copy=False)
