"""Sending to a DICOM node over real sockets: what arrives is what was drawn, and what goes wrong is said in a line."""

from __future__ import annotations

import gc
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import MakePage
from captures import TITLE, Node, node, pixels, png, post, refused, upload
from eyes import eyes
from live import wait_until
from pydicom.uid import (
    ImplicitVRLittleEndian,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from usert.errors import OptionError
from usert.runtime.view import dicom_node, dicom_routes
from usert.runtime.view.dicom_node import DicomNode
from usert.runtime.view.live_page import LivePage

NOWHERE = "tcp://127.0.0.1:1"
IMAGE = png(pixels())
SEND = upload(IMAGE, send=True)
Page = Callable[..., LivePage]
unclosed = pytest.mark.filterwarnings(
    "ignore:.*<(socket.socket|ssl.SSLSocket) fd:pytest.PytestUnraisableExceptionWarning"
)
"""pynetdicom leaves a socket that could not connect to the garbage collector."""


@pytest.fixture
def page(serve_page: MakePage, monkeypatch: pytest.MonkeyPatch) -> Page:
    """A page whose node is at an address; it does not wait long."""
    for name in ("CONNECT_S", "ANSWER_S", "STORE_S"):
        monkeypatch.setattr(dicom_node, name, 1.5)

    def page(address: str, title: str = TITLE, authority: Path | None = None) -> LivePage:
        found = DicomNode.parse(f"{title}@{address}", "USERT", authority)
        return serve_page(strain=NOWHERE, dicom_node=found)

    return page


@pytest.mark.parametrize("syntaxes", [(), (RLELossless,), (ImplicitVRLittleEndian,)])
def test_what_a_node_receives_is_what_was_sent(page: Page, syntaxes: tuple[str, ...]) -> None:
    with node(*syntaxes) as pacs:
        served = page(pacs.address)
        status, content, _ = post(served, SEND)
        assert (status, json.loads(content)) == (200, {"sent": f"PACS@{pacs.address}"})
        film = upload(*(png(pixels(k)) for k in range(4)), send=True)
        assert post(served, film)[0] == 200
    image, frames = pacs.received
    if syntaxes:
        assert image.file_meta.TransferSyntaxUID == syntaxes[0]
    np.testing.assert_array_equal(image.pixel_array, pixels())
    for k, frame in enumerate(frames.pixel_array):
        np.testing.assert_array_equal(frame, pixels(k))
    assert image.StudyInstanceUID == frames.StudyInstanceUID


def test_the_identifier_arrives_in_any_script(page: Page) -> None:
    with node() as pacs:
        served = page(pacs.address)
        with eyes(served) as one:
            one.say("case", {"identifier": "Ölçü 山田^7"})
            while (told := one.text("case"))["number"] == 1:
                pass
        assert post(served, upload(IMAGE, send=True, case=told["number"]))[0] == 200
    assert pacs.received[0].PatientID == "Ölçü 山田^7"


def test_an_echo_says_whether_a_node_is_there(page: Page) -> None:
    with node() as pacs:
        assert json.loads(post(page(pacs.address), b"", "/dicom/echo")[1]) == {
            "there": f"PACS@{pacs.address}"
        }


def ended(pacs: Node, event: Any) -> int:
    event.assoc.abort()
    return 0


def slow(pacs: Node, event: Any) -> int:
    pacs.closing.wait(20)
    return 0


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        (lambda pacs, event: 0xA700, "dicom.refused"),
        (lambda pacs, event: 0x0122, "dicom.refused"),
        (ended, "dicom.no_answer"),
        (slow, "dicom.no_answer"),
    ],
)
def test_a_node_that_does_not_take_it_is_said(
    page: Page, answer: Callable[[Node, Any], int], key: str
) -> None:
    with node() as pacs:
        pacs.answer = lambda event: answer(pacs, event)
        told = refused(page(pacs.address), SEND)
    assert told["key"] == key
    assert told["values"]["node"] == f"PACS@{pacs.address}"


def test_a_warning_of_the_node_is_no_failure(page: Page) -> None:
    with node() as pacs:
        pacs.answer = lambda event: 0xB000
        assert post(page(pacs.address), SEND)[0] == 200


def test_a_node_of_another_name_rejects_it(page: Page) -> None:
    with node() as pacs:
        told = refused(page(pacs.address, "OTHER"), SEND)
    assert (told["key"], told["values"]["reason"]) == ("dicom.rejected", "Called AE title not recognised")


def test_a_node_that_does_not_know_us_rejects_it(page: Page) -> None:
    with node(change=lambda ae: setattr(ae, "require_calling_aet", ["OTHER"])) as pacs:
        told = refused(page(pacs.address), SEND, "/dicom/echo")
    assert (told["key"], told["values"]["reason"]) == ("dicom.rejected", "Calling AE title not recognised")


def test_a_node_that_takes_no_pictures_is_said(page: Page) -> None:
    def only_echo(ae: Any) -> None:
        for of in (SecondaryCaptureImageStorage, MultiFrameTrueColorSecondaryCaptureImageStorage):
            ae.remove_supported_context(of)

    with node(change=only_echo) as pacs:
        assert refused(page(pacs.address), SEND)["key"] == "dicom.no_pictures"


@unclosed
def test_nobody_at_the_address_is_said(page: Page) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    told = refused(page(f"127.0.0.1:{closed}"), SEND)
    assert (told["key"], told["values"]["reason"]) == ("dicom.unreachable", "Connection refused")
    assert refused(page("no-such-host.invalid:104"), SEND)["key"] == "dicom.unknown_host"
    gc.collect()


def test_a_node_that_never_answers_holds_nobody_up(page: Page, publisher: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        served = page(f"127.0.0.1:{silent.getsockname()[1]}")
        told: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: told.append(refused(served, SEND)))
        thread.start()
        assert post(served, upload(IMAGE))[0] == 200  # saving goes on
        with eyes(served) as one:
            one.say("ping", 1.0)
            one.text("pong")
        thread.join()
    assert told[0]["key"] == "dicom.no_association"


def test_no_more_objects_wait_than_memory_has_room_for(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_routes, "_MOST_HELD", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        served = page(f"127.0.0.1:{silent.getsockname()[1]}")
        first: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: first.append(refused(served, SEND)))
        thread.start()
        wait_until(lambda: served._dicom._held == 1)
        assert refused(served, SEND)["key"] == "dicom.node_busy"
        assert post(served, upload(IMAGE))[0] == 200  # saving goes on
        thread.join()
    assert first[0]["key"] == "dicom.no_association"
    assert served._dicom._held == 0


def test_a_node_that_stops_reading_is_given_up(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """It agrees to the association and then reads no more: pynetdicom alone would wait for ever."""
    monkeypatch.setattr(dicom_node, "_SLOWEST_BYTES_S", 100_000_000)
    large = png(np.random.default_rng(0).integers(0, 256, (2000, 2000, 3)).astype(np.uint8))
    release = threading.Event()

    listener = socket.create_server(("127.0.0.1", 0))
    relay = threading.Thread(target=_agree_and_stop, args=(listener, release))
    relay.start()
    try:
        told = refused(page(f"127.0.0.1:{listener.getsockname()[1]}"), upload(large, send=True))
    finally:
        release.set()
        relay.join()
        listener.close()
    assert told["key"] in ("dicom.no_answer", "dicom.ended")


def _agree_and_stop(listener: socket.socket, release: threading.Event) -> None:
    """Pass each association on to a real node, that of the page's first echo too, then read nothing."""

    def pass_on(ours: socket.socket) -> None:
        with ours, socket.create_connection((host, int(port))) as theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            request = ours.recv(1 << 16)
            theirs.sendall(request)
            ours.sendall(theirs.recv(1 << 16))
            release.wait(60)

    with node() as pacs:
        host, port = pacs.address.split(":")
        listener.settimeout(0.05)
        others = []
        while not release.is_set():
            with suppress(TimeoutError):
                others.append(threading.Thread(target=pass_on, args=(listener.accept()[0],)))
                others[-1].start()
        for other in others:
            other.join()


@unclosed
def test_over_tls_the_node_must_have_the_right_certificate(page: Page, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")

    def made(name: str) -> tuple[Path, Path]:
        cert, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
        subprocess.run(["openssl", *words], check=True, capture_output=True)
        return cert, key

    cert, key = made("node")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with node(ssl_context=context) as pacs:
        assert post(page(pacs.address, authority=cert), SEND)[0] == 200
        assert len(pacs.received) == 1
        assert refused(page(pacs.address, authority=made("other")[0]), SEND)["key"] == "dicom.no_association"
        assert refused(page(pacs.address), SEND)["key"] == "dicom.no_association"
    assert len(pacs.received) == 1
    gc.collect()


def test_without_a_node_a_line_says_so(serve_page: MakePage) -> None:
    served = serve_page(strain=NOWHERE)
    for path in ("/dicom", "/dicom/echo"):
        assert refused(served, SEND, path)["key"] == "dicom.no_node"


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.9:104",
        "PACS@10.0.0.9",
        "@h:104",
        "PACS@:104",
        "seventeen-letters@h:104",
        "PÄCS@h:104",
        "A\\B@h:1",
        "P@h:x",
    ],
)
def test_what_is_no_node_is_one_line(text: str) -> None:
    with pytest.raises(OptionError, match="--dicom-node"):
        DicomNode.parse(text, "USERT")


def test_what_is_no_certificate_or_title_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--dicom-title: got the AE title ''"):
        DicomNode.parse("PACS@h:104", "")
    (tmp_path / "bad.pem").write_text("no")
    for name in ("bad.pem", "none.pem"):
        with pytest.raises(OptionError, match=r"--dicom-tls: cannot use .*pem"):
            DicomNode.parse("PACS@h:104", "USERT", tmp_path / name)


def test_a_node_elsewhere_without_tls_is_unprotected(tmp_path: Path) -> None:
    assert DicomNode.parse("PACS@10.0.0.9:104", "USERT").unprotected
    assert not DicomNode.parse("PACS@127.0.0.1:104", "USERT").unprotected
