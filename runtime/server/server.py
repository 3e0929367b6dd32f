"""The live server: RF frames in, the newest pair through the engine, strain images out.

Knows the engine only by its protocol. Invariant: no message, no frame and nothing that the engine raises ends
the server; only `stop()` does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from ..engines.interface import Engine
from ..imaging.frames import ReceivedFrame
from ..monitor.health import Health
from ..monitor.metrics import Metrics
from ..protocol.age import now_ns
from ..protocol.rf_message import MAX_RF_BYTES, RFMessage
from ..protocol.strain_message import StrainMessage
from ..record.file import RecordedImage
from ..record.recorder import Recorder
from ..record.switch import RecordSwitch
from ..transport.access import Gatekeeper
from ..transport.lifecycle import POLL_MS, Service
from ..transport.receiver import Receiver
from ..transport.socket import Link
from .bundle_swap import BundleChange
from .config import ServerConfig
from .control_handlers import OpenBundle, Orders
from .control_socket import ControlServer
from .counters import Ledger
from .engine_runner import Running
from .frame_queue import Inbox
from .publication import strain_message
from .stats import ServerStats
from .status import status_fields
from .stream import Shown, Stream

_QUEUE_IMAGES = 2
"""A client that reads slower than this loses images; the server never waits for it."""
_SUBSCRIPTION_BYTES = 1024
"""The largest message that a client sends."""
_TOLD, _TELL_NS = 10, 1_000_000_000
"""Sessions that are told in the log at once, and between two after that: a source may begin one with every frame."""
_LINGER_MS = 200
"""How long the last image may take to leave."""

log = logging.getLogger(__name__)


class StrainServer(Service):
    """`with StrainServer(...) as server: server.run()`; the engine stays its maker's to close."""

    def __init__(
        self,
        *,
        engine: Engine,
        config: ServerConfig,
        weights_hash: str = "",
        bundle: Path | None = None,
        warm: Iterable[tuple[int, int]] = (),
        recorder: Recorder | None = None,
        switch: RecordSwitch | None = None,
        open_bundle: OpenBundle | None = None,
        metrics: Metrics | None = None,
        health: Health | None = None,
    ) -> None:
        """`recorder`: open, and its maker's to close, after this; or `switch`, with which commands begin records.

        `bundle`: where the engine's is. `warm`: shapes of frames that it is warm for. `open_bundle`: for the command
        that changes it; None: it cannot be changed.
        """
        super().__init__()
        self._config = config
        self._engine = Running(
            engine,
            quality_rule=config.quality_rule,
            weights_hash=weights_hash,
            bundle=bundle,
            warm=warm,
            keep_warm_s=config.keep_warm_s,
        )
        self._switch = switch or RecordSwitch(recorder)
        self._change = BundleChange(quality_rule=config.quality_rule, state=config.state)
        self._inbox = Inbox(kept=config.kept, queue=config.every_frame, admitted=self._admitted)
        self._streams: dict[str, Stream] = {}
        self._orders = Orders(
            running=self._engine,
            streams=lambda: self._streams,
            switch=self._switch,
            status=self._status,
            stop=self.stop,
            change=self._change,
            open_bundle=open_bundle,
            rectangles=config.rectangles,
        )
        self._told_ns = 0
        self._opened_ns = now_ns()
        self._health = health or Health(self._opened_ns)
        self._ledger = Ledger(
            self._inbox, health=self._health, metrics=metrics, deadline_ms=config.deadline_ms
        )

    def _open(self, stack: ExitStack) -> None:
        config = self._config
        stack.callback(self._engine.close)
        stack.callback(self._switch.close)
        stack.callback(self._change.close)
        context = stack.enter_context(zmq.Context())
        self._gatekeeper = stack.enter_context(
            Gatekeeper(context, strain=config.keys, rf=config.rf_keys, control=config.control_keys)
        )
        self._output = stack.enter_context(
            Link(
                context,
                zmq.PUB,
                config.publish,
                bind=True,
                security=self._gatekeeper.security("strain"),
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
            self._control = ControlServer(
                context=context,
                endpoint=config.control,
                handle=self._orders.handle,
                security=self._gatekeeper.security("control"),
            )
            self._control.open()
            stack.callback(self._control.close)
        stack.callback(self._orders.close)
        self._receivers = [
            self._receiver(context, stack, origin) for origin in range(len(config.rf_endpoints))
        ]
        stack.callback(self._inbox.close)
        self._ledger.malformed = [receiver.malformed for receiver in self._receivers]
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
                self._health.turn(now_ns())
                for thread in (*self._receivers, self._control):
                    if thread is not None:
                        thread.check()
                self._output.renew()  # cuts off clients whose key was taken away
                self._orders.carry_out()
                taken = self._inbox.take(POLL_MS / 1e3)
                if taken is not None:
                    self._serve(*taken)
                else:
                    self._engine.pause()

    @property
    def rf_endpoint(self) -> str:
        """Where the first RF socket really is."""
        return self.rf_endpoints[0]

    @property
    def control_endpoint(self) -> str | None:
        """Where commands are taken; None: nowhere."""
        return None if self._control is None else self._control.endpoint

    @property
    def running(self) -> Running:
        """The engine that runs now, for those who tell of it."""
        return self._engine

    @property
    def recorder(self) -> Recorder | None:
        """The one that is open now; for any thread, as the next."""
        return self._switch.recorder

    @property
    def frozen_streams(self) -> int:
        """How many streams are frozen."""
        return sum(stream.frozen for stream in list(self._streams.values()))

    @property
    def stats(self) -> ServerStats:
        """The counts at this moment; for any thread."""
        return self._ledger.stats

    def _status(self) -> dict[str, Any]:
        return status_fields(
            stats=self.stats,
            running=self._engine,
            streams=dict(self._streams),
            recorder=self.recorder,
            health=self._health.report(now_ns()),
            uptime_s=(now_ns() - self._opened_ns) / 1e9,
            denied=self._gatekeeper.denied.total,
        )

    def _admitted(self, frame: ReceivedFrame) -> None:
        """In the receiving threads, before an image can be made of the frame."""
        self._health.frame(frame.received_ns)
        recorder = self.recorder
        if recorder is not None:
            recorder.put_frame(frame)

    def _serve(self, current: ReceivedFrame, before: tuple[ReceivedFrame, ...]) -> None:
        stream = self._stream(current)
        if stream.frozen:
            frozen = stream.frozen_image()
            if frozen is None:
                self._ledger.unpaired()
            else:
                self._publish(frozen)
            return
        reference = stream.reference(current, before)
        if reference is None:
            self._ledger.unpaired()
            return
        try:
            new = self._engine.estimate(reference, current)
            window = self._engine.engine.strain_window_samples
            shown = stream.show(new, rule=self._engine.quality_rule, strain_window=window)
        except Exception as error:  # an engine runs foreign code: nothing that it raises may end the server
            self._ledger.failed(error)
            return
        recorder = self.recorder  # one that begins once the image is out has not seen its frame
        message = self._publish(shown)
        self._ledger.pair(new, shown.newest.score, message.published_ns)
        if recorder is not None:
            recorder.put_image(RecordedImage.of(new, message, score=shown.newest.score))
        self._orders.pair(new)

    def _stream(self, current: ReceivedFrame) -> Stream:
        """That of the source of `current`, in the session of it."""
        name, frame = current.stream, current.frame
        stream = self._streams.get(name)
        if stream is None:
            stream = Stream(self._config)
            stream.set_rectangles(self._orders.rectangles)
            here = self._inbox.sources
            self._streams = {k: s for k, s in self._streams.items() if k in here} | {name: stream}
        if stream.session != current.session:
            if current.session <= _TOLD or current.received_ns - self._told_ns >= _TELL_NS:
                self._told_ns = current.received_ns
                log.info(
                    "session %d: %r, %d x %d %s", current.session, name, *frame.shape, frame.samples.dtype
                )
            stream.begin(current.session, frame.shape)
            self._health.warming(now_ns())
            self._engine.warm_up(frame.shape, frame.scan)
            self._health.turn(now_ns())
        return stream

    def _publish(self, shown: Shown) -> StrainMessage:
        published_ns = now_ns()
        message = strain_message(
            shown,
            counters=self._ledger.image(shown, published_ns),
            published_ns=published_ns,
            rule=self._engine.quality_rule,
            deadline_ms=self._config.deadline_ms,
        )
        self._output.socket.send_multipart(message.to_parts(), copy=False)
        return message
