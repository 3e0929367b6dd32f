"""The DICOM node that objects are sent to: C-STORE and C-ECHO, by pynetdicom, each over an association of its own.

Invariant: no call takes longer than its timeouts and the lookup of the host's name, whatever the node does, and none
raises anything but `Refusal`.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usert.errors import OptionError

from ..transport.address import is_loopback, parse_address
from .case import Refusal

CONNECT_S = 5.0
ANSWER_S = 10.0
"""How long the node may take to accept an association, and to answer an echo."""
STORE_S = 30.0
"""How long the node may take to answer an object, and to take the next part of one."""
_SLOWEST_BYTES_S = 500_000
"""Rate at which an object must at least be taken, on the whole."""
_TITLE = re.compile(r"(?!\s)[\x20-\x7e]{1,16}(?<!\s)")
_VERIFICATION = "1.2.840.10008.1.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomNode:
    """Address and name of a node, and the name of this side."""

    host: str
    port: int
    title: str
    """AE title of the node."""
    own_title: str
    """AE title that this side calls itself."""
    authority: Path | None = None
    """PEM file of the authority whose certificate the node must have, for TLS; None: not encrypted."""

    @classmethod
    def parse(cls, node: str, own_title: str, authority: Path | None = None) -> DicomNode:
        """The node written as `TITLE@HOST:PORT`. Errors: `OptionError`."""
        title, at, address = node.rpartition("@")
        if not at:
            raise OptionError(
                f"--dicom-node: got {node!r}, expected TITLE@HOST:PORT, such as PACS@10.0.0.9:104"
            )
        for name, value in (("--dicom-node", title), ("--dicom-title", own_title)):
            if not _TITLE.fullmatch(value) or "\\" in value:
                raise OptionError(f"{name}: got the AE title {value!r}, expected 1 to 16 characters of ASCII")
        host, port = parse_address(address, name="--dicom-node")
        found = cls(host=host, port=port, title=title, own_title=own_title, authority=authority)
        if authority is not None:
            found._context()
        return found

    @property
    def name(self) -> str:
        """The node as a person writes it."""
        return f"{self.title}@{self.host}:{self.port}"

    @property
    def unprotected(self) -> bool:
        """Whether others on a network can read what is sent."""
        return self.authority is None and not is_loopback(self.host)

    def echo(self) -> None:
        """Ask the node whether it is there (C-ECHO). Errors: `Refusal`."""
        with self._association([(_VERIFICATION, None)], answer_s=ANSWER_S) as association:
            self._check(self._asked(association.send_c_echo))

    def store(self, dataset: Any) -> None:
        """Send an object (C-STORE), uncompressed where the node does not take its compression. Errors: `Refusal`."""
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

        of = str(dataset.SOPClassUID)
        most = 3 * dataset.Rows * dataset.Columns * int(dataset.get("NumberOfFrames", 1))
        offered = [
            (_VERIFICATION, None),  # so that a node which takes no pictures can be told from none
            (of, str(dataset.file_meta.TransferSyntaxUID)),
            (of, ExplicitVRLittleEndian),
            (of, ImplicitVRLittleEndian),
        ]
        with self._association(offered, answer_s=STORE_S + most / _SLOWEST_BYTES_S) as association:
            taken = {
                str(context.transfer_syntax[0])
                for context in association.accepted_contexts
                if context.abstract_syntax == of
            }
            if not taken:
                raise self._refusal("dicom.no_pictures", "does not take such pictures")
            if str(dataset.file_meta.TransferSyntaxUID) not in taken:
                dataset.decompress(generate_instance_uid=False)  # pynetdicom makes it implicit, if it must
            self._check(self._asked(association.send_c_store, dataset))

    def _asked(self, send: Callable[..., Any], *values: Any) -> Any:
        """The answer to a request. Errors: `Refusal`."""
        try:
            return send(*values)
        except (RuntimeError, ValueError) as error:  # the association ended meanwhile; no context
            raise self._refusal("dicom.ended", "ended the connection") from error

    def _check(self, answer: Any) -> None:
        """Errors: `Refusal` where the node's answer to a request is not success or a warning."""
        if "Status" not in answer:
            raise self._refusal("dicom.no_answer", "did not answer the request")
        status = int(answer.Status)
        if status and status >> 12 != 0xB:
            code = f"0x{status:04X}"
            raise self._refusal("dicom.refused", f"refused the object, status {code}", code=code)

    @contextmanager
    def _association(self, offered: list[tuple[str, str | None]], *, answer_s: float) -> Iterator[Any]:
        """An association for these SOP classes, each with one transfer syntax. Errors: `Refusal`."""
        from pynetdicom import AE, evt

        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # what fails is said once, by the page
        ours = AE(ae_title=self.own_title)
        ours.connection_timeout, ours.acse_timeout = CONNECT_S, ANSWER_S
        ours.dimse_timeout = ours.network_timeout = answer_s
        for of, syntax in offered:
            ours.add_requested_context(of, syntax) if syntax else ours.add_requested_context(of)
        contexts = list(ours.requested_contexts)
        address = self._resolved()
        tls = None if self.authority is None else (self._context(), self.host)
        association = ours.associate(
            address,
            self.port,
            contexts=contexts,
            ae_title=self.title,
            tls_args=tls,
            evt_handlers=[(evt.EVT_CONN_OPEN, _limit_sending)],
        )
        if not association.is_established:
            raise self._why(association)
        try:
            yield association
        finally:
            if association.is_established:
                association.release()
            _cut(association)

    def _resolved(self) -> str:
        """The address of the host. Errors: `Refusal`."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._refusal("dicom.unknown_host", "is not known by that name") from error
        return str(found[0][4][0])

    def _context(self) -> ssl.SSLContext:
        """Errors: `OptionError`."""
        try:
            return ssl.create_default_context(cafile=self.authority)
        except OSError as error:
            raise OptionError(
                f"--dicom-tls: cannot use {self.authority}: {error.strerror or error}"
            ) from error

    def _why(self, association: Any) -> Refusal:
        """Why there is no association."""
        if association.is_rejected:
            reason = str(association.acceptor.primitive.reason_str) if association.acceptor.primitive else ""
            return self._refusal("dicom.rejected", f"rejects the connection: {reason}", reason=reason)
        try:
            socket.create_connection((self.host, self.port), timeout=CONNECT_S).close()
        except OSError as error:
            reason = error.strerror or "no answer"
            return self._refusal("dicom.unreachable", f"cannot be reached: {reason}", reason=reason)
        return self._refusal("dicom.no_association", "is there, but does not agree to a DICOM connection")

    def _refusal(self, key: str, what: str, **values: Any) -> Refusal:
        return Refusal(key, f"DICOM: {self.name} {what}", node=self.name, **values)


def _limit_sending(event: Any) -> None:
    """Let a `send` that makes no progress for `STORE_S` fail: pynetdicom sets no limit of its own."""
    limit = struct.pack("ll", int(STORE_S), 0)
    with suppress(OSError):
        event.assoc.dul.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _cut(association: Any) -> None:
    """Close the socket, so that no thread of the association waits for a node that no longer reads."""
    with suppress(OSError, AttributeError):
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
