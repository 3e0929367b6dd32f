"""`--rows`: a live server that uses a part of the depth axis."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from live import SHAPE, Feed, Source, books_balance, make_server, numbered_frame, running, wait_until

from usert.bundle import Bundle
from usert.errors import OptionError
from usert.frame import RFFrame
from usert.recording import Recording
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.header import MalformedError
from usert.runtime.protocol.rf_message import RFMessage, rf_decoder
from usert.runtime.record.contents import Provenance
from usert.runtime.record.recorder import Recorder
from usert.runtime.record.switch import RecordSwitch
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer

ROWS = (2, 22)
PADDED = (30, SHAPE[1])


def padded_frame(sequence: int) -> RFFrame:
    """Noise whose last rows are zeros."""
    whole = numbered_frame(sequence, shape=PADDED)
    whole.samples[ROWS[1] :] = 0
    return whole


def test_images_are_those_of_frames_that_were_cut_before(engine: Engine, source: Source) -> None:
    with (
        running(make_server(engine, source, rows=ROWS)) as server,
        StrainClient(server.publish_endpoint) as client,
    ):
        feed = Feed(source, client)
        deadline = time.monotonic() + 20
        while (image := client.receive(0.05)) is None:
            assert time.monotonic() < deadline
            feed.next(samples=padded_frame(feed.sequence + 1).samples)
        reference, current = (
            padded_frame(stamp.sequence).samples[slice(*ROWS)] for stamp in (image.reference, image.current)
        )
        expected = engine.run(reference, current, image.scan)
        assert image.shape == (ROWS[1] - ROWS[0], SHAPE[1])
        np.testing.assert_array_equal(image.displacement, expected.displacement)
        np.testing.assert_array_equal(image.strain, expected.strain)


def test_a_frame_that_ends_before_is_counted_and_survived(
    engine: Engine, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    with running(make_server(engine, source, rows=ROWS)) as server:
        short = RFMessage(frame=numbered_frame(1, shape=(21, 8)), stream="test")
        source.send(short)
        wait_until(lambda: server.counts.malformed == {"rows": 1})
        for k in (2, 3):
            source.send(RFMessage(frame=padded_frame(k), stream="test"))
            wait_until(lambda k=k: server.counts.frames.received == k - 1 and books_balance(server))
        assert server.counts.published == 1
    assert "rows 2:22: got a frame of 21 samples, expected 22 or more" in caplog.text


def test_a_record_holds_what_was_used(engine: Engine, bundle: Bundle, source: Source, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r.h5", Provenance.of(bundle, rows=ROWS))
    config = ServerConfig(rf=source.endpoint, rf_type="pull", publish="tcp://127.0.0.1:0", rows=ROWS)
    switch = RecordSwitch(recorder)
    with recorder, running(StrainServer(engine=engine, config=config, switch=switch)) as server:
        for k in (1, 2):
            source.send(RFMessage(frame=padded_frame(k), stream="test"))
            wait_until(lambda k=k: server.counts.frames.received == k and books_balance(server))
    with Recording(tmp_path / "r.h5") as recording:
        np.testing.assert_array_equal(recording.frame(1).samples, padded_frame(2).samples[slice(*ROWS)])


def test_a_message_is_cut_without_a_copy() -> None:
    parts = RFMessage(frame=padded_frame(5), stream="s", clock="c").to_parts()
    message = rf_decoder(ROWS)(parts)
    whole = rf_decoder(None)(parts)
    np.testing.assert_array_equal(message.frame.samples, whole.frame.samples[slice(*ROWS)])
    assert message.frame.samples.flags.c_contiguous
    assert (message.stream, message.clock, message.frame.sequence) == ("s", "c", 5)
    assert message.frame.scan == whole.frame.scan.of_rows(*ROWS)
    with pytest.raises(MalformedError, match=r"rows 2:31: .*\b30\b.*\b31\b"):
        rf_decoder((2, 31))(parts)


def test_rows_that_make_no_sense_are_refused() -> None:
    for rows in ((3, 3), (-1, 4)):
        with pytest.raises(OptionError, match=r"\brows\b.*expected a:b"):
            ServerConfig(rf="tcp://127.0.0.1:1", publish="tcp://127.0.0.1:2", rows=rows)
