"""The routes that make DICOM objects of what a browser shows: for it to keep, for the folder, for the node.

Invariant: whoever asks, one upload is read and encoded at a time, and no request takes longer than its timeouts.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from usert.errors import UsertError, require

from .case import Case, Refusal
from .dicom_folder import DicomFolder
from .dicom_node import DicomNode
from .dicom_study import Study
from .dicom_upload import MOST_BODY, Header, Upload

_READ_S = 120.0
"""How long a browser may take to upload."""
_SWITCH_S = 5e-4
_SENDING = 2
"""Objects that are sent to the node at the same time; more wait."""
_MOST_HELD = 6
"""Objects in memory that are sent or wait for it; more are refused."""

_T = TypeVar("_T")


class DicomRoutes:
    """Use it in the event loop's thread only."""

    def __init__(
        self, case: Callable[[], Case], *, folder: DicomFolder | None = None, node: DicomNode | None = None
    ) -> None:
        """`case`: that of now. `folder`: where objects are saved; None: the browser keeps them."""
        self._case = case
        self._folder = folder
        self._node = node
        self._study: Study | None = None
        self._reading = asyncio.Lock()
        self._sending = asyncio.Semaphore(_SENDING)
        self._held = 0
        self.routes = [
            Route("/dicom", self._make, methods=["POST"]),
            Route("/dicom/echo", self._echo, methods=["POST"]),
        ]

    @property
    def about(self) -> dict[str, Any]:
        """What the page is told: what is missing, and where objects go."""
        missing = ""
        try:
            require("pydicom", "dicom")
        except UsertError as error:
            missing = str(error)
        node = "" if self._node is None else self._node.name
        return {"missing": missing, "folder": self._folder is not None, "node": node}

    async def check(self, report: Callable[[str], None]) -> None:
        """Ask the node, if there is one, whether it is there; `report` gets a line if it is not."""
        if self._node is not None:
            try:
                await in_thread(self._node.echo)
            except UsertError as error:
                report(str(error))

    async def _make(self, request: Request) -> Response:
        try:
            require("pydicom", "dicom")
            async with self._reading:
                header, dataset = await self._object(request)
            if header.send:
                return await self._send(dataset)
            return await self._save(dataset, header.kind)
        except ClientDisconnect:
            return Response(status_code=400)
        except UsertError as error:
            return _refused(error)

    async def _object(self, request: Request) -> tuple[Header, Any]:
        """What was uploaded says, and the object of it. Errors: `UsertError`, `ClientDisconnect`."""
        upload = Upload.parse(await _body(request))
        case = self._case()
        if upload.header.case != case.number:
            raise Refusal("dicom.other_case", "DICOM: another case has begun since; nothing was saved")
        if upload.header.send and self._held >= _MOST_HELD:
            line = f"DICOM: {_MOST_HELD} objects wait for the node: send this one later; nothing was sent"
            raise Refusal("dicom.node_busy", line, count=_MOST_HELD)
        if self._study is None or self._study.case != case:
            self._study = Study(case=case)
        with _often_interrupted():
            return upload.header, await in_thread(self._study.make, upload)

    async def _save(self, dataset: Any, kind: str) -> Response:
        name = f"usert-{datetime.now():%Y%m%d-%H%M%S}-{kind}-{str(dataset.SOPInstanceUID)[-8:]}.dcm"
        content = await in_thread(_file_of, dataset)
        if self._folder is not None:
            await in_thread(self._folder.save, name, content)
            return JSONResponse({"saved": name})
        disposition = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="application/dicom", headers=disposition)

    async def _send(self, dataset: Any) -> Response:
        node = self._needed_node()
        self._held += 1
        try:
            async with self._sending:
                await in_thread(node.store, dataset)
        finally:
            self._held -= 1
        return JSONResponse({"sent": node.name})

    async def _echo(self, request: Request) -> Response:
        try:
            node = self._needed_node()
            async with self._sending:
                await in_thread(node.echo)
        except UsertError as error:
            return _refused(error)
        return JSONResponse({"there": node.name})

    def _needed_node(self) -> DicomNode:
        if self._node is None:
            raise Refusal(
                "dicom.no_node", "DICOM: no node: start usert view with --dicom-node TITLE@HOST:PORT"
            )
        return self._node


async def in_thread(call: Callable[..., _T], *values: Any) -> _T:
    """The result of `call` in a thread of its own, which the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = call(*values)
        except Exception as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="view dicom", daemon=True).start()
    return await future


@contextmanager
def _often_interrupted() -> Iterator[None]:
    """Let other threads run after half a millisecond instead of five: RLE is encoded in Python, and an image on its
    way to the browsers waits for the interpreter a dozen times."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _refused(error: UsertError) -> Response:
    fields = error.fields if isinstance(error, Refusal) else {"key": "", "values": {}, "error": str(error)}
    return JSONResponse(fields, 400)


def _file_of(dataset: Any) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


async def _body(request: Request) -> bytearray:
    """The body of `request`. Errors: `Refusal` for one that is too large or too slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_S):
            async for part in request.stream():
                body += part
                if len(body) > MOST_BODY:
                    line = f"DICOM: the pictures have more than {MOST_BODY >> 20} MB: choose fewer"
                    raise Refusal("dicom.too_large", line)
    except TimeoutError as error:
        raise Refusal("dicom.too_slow", f"DICOM: the pictures took longer than {_READ_S:g} s") from error
    return body
