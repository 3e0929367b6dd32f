"""`usert view` on the command line: what it prints, what it refuses in one line, and how it ends."""

from __future__ import annotations

import http.client
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from live import TIMEOUT_S


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "usert", "view", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_address_and_ends_by_a_signal(number: signal.Signals) -> None:
    process = start("--strain", "tcp://127.0.0.1:1", "--http", "127.0.0.1:0")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert re.fullmatch(r"view: page on http://127\.0\.0\.1:\d+/\n", first)
    process.send_signal(number)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, errors) == (0, "")


def test_elsewhere_the_address_has_a_token_and_a_line_says_that_it_is_not_encrypted() -> None:
    process = start("--strain", "tcp://127.0.0.1:1", "--http", "0.0.0.0:0")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert re.fullmatch(r"view: page on http://\S+:\d+/\?token=[\w-]{43}\n", first)
    process.terminate()
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert errors.startswith("view: not encrypted")
    assert errors.count("\n") == 1


def test_a_node_is_asked_at_the_start_and_that_nothing_is_encrypted_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    words = ("--strain", "tcp://127.0.0.1:1", "--http", "127.0.0.1:0")
    process = start(*words, "--dicom-node", f"PACS@127.0.0.1:{closed}")
    assert process.stderr is not None
    assert "PACS@127.0.0.1" in process.stderr.readline()
    process.terminate()
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, errors) == (0, "")
    process = start(*words, "--dicom-node", "PACS@192.0.2.1:104")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert errors.startswith("view: DICOM goes to PACS@192.0.2.1:104 unencrypted")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--strain", "tcp://10.0.0.1:5556"), "without keys"),
        (("--strain", "tcp://127.0.0.1:1", "--rf", "tcp://10.0.0.1:5555"), "without keys"),
        (("--strain", "tcp://127.0.0.1:1", "--control", "here"), "endpoint"),
        (("--strain", "tcp://127.0.0.1:1", "--http", "8080"), "HOST:PORT"),
        (("--strain", "tcp://127.0.0.1:1", "--http", "203.0.113.7:0"), "cannot bind"),
        (("--strain", "tcp://127.0.0.1:1", "--token-file", "absent"), "cannot read absent"),
        (("--strain", "tcp://127.0.0.1:1", "--tls-cert", "absent"), "--tls-key"),
        (("--strain", "tcp://127.0.0.1:1", "--tls-cert", "absent", "--tls-key", "absent"), "No such file"),
        (
            ("--strain", "tcp://127.0.0.1:1", "--tls-cert", __file__, "--tls-key", __file__),
            f"--tls-cert, --tls-key: got {__file__} and {__file__}: [SSL] PEM lib",
        ),
        (("--strain", "tcp://127.0.0.1:1", "--stale-ms", "0"), "--stale-ms"),
        (("--strain", "tcp://127.0.0.1:1", "--key", "absent"), "--key"),
        (("--strain", "tcp://127.0.0.1:1", "--dicom-node", "10.0.0.9:104"), "TITLE@HOST:PORT"),
        (
            ("--strain", "tcp://127.0.0.1:1", "--dicom-node", "P@h:104", "--dicom-tls", "absent"),
            "cannot use absent",
        ),
        (("--strain", "tcp://127.0.0.1:1", "--dicom-tls", "absent"), "without --dicom-node"),
        (("--strain", "tcp://127.0.0.1:1", "--dicom-folder", "absent"), "there is no folder absent"),
    ],
)
def test_what_makes_no_sense_is_one_line(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    process = start(*words)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert errors.startswith("usert: ")
    assert errors.count("\n") == 1
    assert message in errors


def test_a_page_with_a_certificate_is_encrypted(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost")
    alternative = ("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert)
    subprocess.run(["openssl", *make, *alternative], check=True, capture_output=True)
    words = ("--strain", "tcp://127.0.0.1:1", "--http", "127.0.0.1:0")
    process = start(*words, "--tls-cert", str(cert), "--tls-key", str(key))
    try:
        assert process.stdout is not None
        match = re.fullmatch(r"view: page on https://127\.0\.0\.1:(\d+)/\n", process.stdout.readline())
        assert match is not None
        trust = ssl.create_default_context(cafile=str(cert))
        connection = http.client.HTTPSConnection("localhost", int(match[1]), context=trust, timeout=TIMEOUT_S)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert errors == ""
