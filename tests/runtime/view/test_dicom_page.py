"""DICOM objects of what a page shows: read back they are what was sent; what makes no sense leaves nothing."""

from __future__ import annotations

import io
import json
import re
import resource
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from browser import MakePage
from captures import WALL_MS, pixels, png, post, refused, upload
from eyes import eyes

from usert.errors import MissingExtraError, OptionError
from usert.runtime.view import dicom_folder, dicom_routes, dicom_study
from usert.runtime.view.case import Refusal
from usert.runtime.view.dicom_folder import DicomFolder
from usert.runtime.view.dicom_upload import Upload
from usert.runtime.view.live_page import LivePage

NOWHERE = "tcp://127.0.0.1:1"
IMAGE = png(pixels())


@pytest.fixture
def page(serve_page: MakePage) -> LivePage:
    return serve_page(strain=NOWHERE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dicom").mkdir()
    return tmp_path / "dicom"


@pytest.fixture
def storing(serve_page: MakePage, folder: Path) -> LivePage:
    """A page whose server has a folder."""
    return serve_page(strain=NOWHERE, dicom_folder=DicomFolder.at(folder))


def made(page: LivePage, body: bytes) -> Any:
    status, content, headers = post(page, body)
    assert status == 200, content
    assert headers["content-type"] == "application/dicom"
    assert re.search(r'filename="usert-\d{8}-\d{6}-(image|cine)-\d{8}\.dcm"', headers["content-disposition"])
    return pydicom.dcmread(io.BytesIO(content))


def named(page: LivePage, identifier: str) -> int:
    """The number of the case of that identifier, which begins."""
    with eyes(page) as one:
        one.say("case", {"identifier": identifier})
        while (told := one.text("case"))["identifier"] != identifier:
            pass
        return int(told["number"])


def test_an_image_is_what_was_drawn_and_says_what_it_is(page: LivePage) -> None:
    identifier = "山田 <b>7</b> '\"ü^="
    found = made(page, upload(IMAGE, case=named(page, identifier)))
    assert found.SOPClassUID.name == "Secondary Capture Image Storage"
    assert found.file_meta.TransferSyntaxUID.name == "RLE Lossless"
    np.testing.assert_array_equal(found.pixel_array, pixels())
    assert (found.PatientID, found.SpecificCharacterSet) == (identifier, "ISO_IR 192")
    for name in (
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "ReferringPhysicianName",
    ):
        assert not found[name].value
    assert (found.Modality, found.ConversionType, found.BurnedInAnnotation) == ("US", "WSD", "NO")
    assert found.PixelSpacing == [0.05, 0.05]
    assert "1540 m/s" in found.PixelSpacingCalibrationDescription
    assert found.AcquisitionDateTime == "20260921141320.123000+0000"
    assert re.fullmatch(r"[+-]\d{4}", found.TimezoneOffsetFromUTC)
    assert "Not for diagnosis" in found.ImageComments
    assert "frames 10 to 11" in found.DerivationDescription
    assert "NumberOfFrames" not in found
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert pydicom.uid.UID(found[name].value).is_valid
    assert len(found.StudyDate) == 8


def test_a_film_has_its_images_and_their_times(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is encoded, other threads, such as those of live images, run after half a millisecond."""
    make, apart = dicom_study.Study.make, [sys.getswitchinterval()]
    noted = lambda study, one: (apart.append(sys.getswitchinterval()), make(study, one))[1]  # noqa: E731
    monkeypatch.setattr(dicom_study.Study, "make", noted)
    bodies = {
        "FrameTime": (0, 50, 100),
        "FrameTimeVector": (0, 50, 250),
    }
    for name, times in bodies.items():
        times_ms = tuple(WALL_MS + step for step in times)
        found = made(page, upload(*(png(pixels(k)) for k in range(3)), times_ms=times_ms))
        assert found.SOPClassUID.name == "Multi-frame True Color Secondary Capture Image Storage"
        assert found[found.FrameIncrementPointer].keyword == name
        for k, frame in enumerate(found.pixel_array):
            np.testing.assert_array_equal(frame, pixels(k))
    assert [float(step) for step in found.FrameTimeVector] == [0, 50, 200]
    unknown = made(page, upload(IMAGE, IMAGE, times_ms=(0, 0)))  # no clock: by the order of arrival
    assert "AcquisitionDateTime" not in unknown
    assert float(unknown.FrameTime) == 50
    assert apart[1] == pytest.approx(5e-4)
    assert sys.getswitchinterval() == apart[0]


def test_a_case_is_a_study_and_its_images_and_films_are_series(page: LivePage) -> None:
    first, second = made(page, upload(IMAGE)), made(page, upload(IMAGE))
    film = made(page, upload(IMAGE, IMAGE))
    assert first.StudyInstanceUID == second.StudyInstanceUID == film.StudyInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != film.SeriesInstanceUID
    assert len({first.SOPInstanceUID, second.SOPInstanceUID, film.SOPInstanceUID}) == 3
    assert (first.InstanceNumber, second.InstanceNumber, film.InstanceNumber) == (1, 2, 3)
    other = made(page, upload(IMAGE, case=named(page, "next")))
    assert other.StudyInstanceUID != first.StudyInstanceUID
    assert (first.PatientID, other.PatientID) == ("", "next")


def test_a_study_is_of_one_patient(page: LivePage) -> None:
    """Also where a case gets its identifier after an object without one was made."""
    before = made(page, upload(IMAGE))
    with eyes(page) as one:
        one.say("unsaved", True)
        one.say("case", {"identifier": "one", "answer": "keep"})
        while one.text("case")["identifier"] != "one":
            pass
        after = made(page, upload(IMAGE))
    assert (before.PatientID, after.PatientID) == ("", "one")
    assert before.StudyInstanceUID != after.StudyInstanceUID
    assert before.SeriesInstanceUID != after.SeriesInstanceUID


def test_what_belongs_to_the_last_case_is_refused(storing: LivePage, folder: Path) -> None:
    named(storing, "next")
    assert refused(storing, upload(IMAGE))["key"] == "dicom.other_case"
    assert list(folder.iterdir()) == []


def test_the_folder_gets_whole_files_of_plain_names(storing: LivePage, folder: Path) -> None:
    number = named(storing, "../../x y")
    status, content, _ = post(storing, upload(IMAGE, case=number))
    assert status == 200
    (path,) = folder.iterdir()
    assert json.loads(content) == {"saved": path.name}
    assert re.fullmatch(r"usert-\d{8}-\d{6}-image-\d{8}\.dcm", path.name)
    assert pydicom.dcmread(path).PatientID == "../../x y"


def test_viewers_that_save_at_once_all_get_theirs(storing: LivePage, folder: Path) -> None:
    bodies = [upload(png(pixels(k)), png(pixels(k + 100))) for k in range(6)]
    threads = [threading.Thread(target=post, args=(storing, body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [pydicom.dcmread(path) for path in folder.iterdir()]
    assert sorted(one.InstanceNumber for one in found) == [1, 2, 3, 4, 5, 6]
    firsts = {one.pixel_array[0].tobytes() for one in found}
    assert firsts == {pixels(k).tobytes() for k in range(6)}


def test_a_full_disk_is_said_and_leaves_nothing(
    storing: LivePage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # a write fails in the middle
    try:
        told = refused(storing, upload(IMAGE))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (told["key"], told["values"]) == ("dicom.not_written", {"reason": "File too large"})
    assert str(folder) not in told["error"]
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(dicom_folder, "RESERVE_BYTES", 1 << 62)
    assert refused(storing, upload(IMAGE))["key"] == "dicom.disk_full"
    monkeypatch.undo()
    monkeypatch.setattr(dicom_folder, "MOST_FILES", 1)
    assert post(storing, upload(IMAGE))[0] == 200
    assert refused(storing, upload(IMAGE))["key"] == "dicom.folder_full"
    assert len(list(folder.iterdir())) == 1


def set_to(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda header: header.update({name: value})


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge(width: int, height: int) -> bytes:
    """A PNG that says to be of that size, and is short."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", ihdr)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


BAD = {
    "empty": b"",
    "short": b"\x01",
    "header too long": struct.pack("<I", 1 << 31) + b"{}",
    "no JSON": struct.pack("<I", 2) + b"{]",
    "deep": struct.pack("<I", 60000) + b"[" * 60000,
    "a list": struct.pack("<I", 2) + b"[]",
    "no pictures": upload(change=set_to("kind", "cine")),
    "too many": upload(*[IMAGE] * 2, change=set_to("kind", "image")),
    "257": upload(*[b"x"] * 257),
    "no PNG": upload(b"GIF89a" + bytes(100)),
    "cut off": upload(IMAGE[:-200]),
    "bytes left over": upload(IMAGE) + b"x",
    "two sizes": upload(IMAGE, png(pixels(0, (60, 81)))),
    "a bomb": upload(huge(1 << 30, 1 << 30)),
    "a smaller bomb": upload(huge(2048, 2048)),
    "an empty profile": upload(IMAGE[:-12] + chunk(b"iCCP", b"") + IMAGE[-12:]),
    "of no width": upload(huge(0, 10)),
    "an unknown key": upload(IMAGE, path="../x"),
    "a negative size": upload(IMAGE, change=lambda header: header["frames"][0].update(bytes=-1)),
    "not a number": upload(IMAGE, change=set_to("scale", float("nan"))),
    "infinite": upload(IMAGE, change=set_to("scale", 1e999)),
    "no scale": upload(IMAGE, change=set_to("scale", 0)),
    "text for a flag": upload(IMAGE, change=set_to("send", "yes")),
    "a kind": upload(IMAGE, change=set_to("kind", "../../x")),
    "a stream of two lines": upload(IMAGE, change=set_to("stream", "a\nb")),
    "a long stream": upload(IMAGE, change=set_to("stream", "x" * 257)),
}


@pytest.mark.parametrize("name", BAD)
def test_an_upload_that_makes_no_sense_is_refused(storing: LivePage, folder: Path, name: str) -> None:
    told = refused(storing, BAD[name])
    assert told["key"] == "dicom.invalid"
    assert len(told["error"]) < 300
    assert list(folder.iterdir()) == []
    assert post(storing, upload(IMAGE))[0] == 200


def test_sizes_are_bounded(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_routes, "MOST_BODY", len(upload(IMAGE)) - 1)
    assert refused(page, upload(IMAGE))["key"] == "dicom.too_large"
    monkeypatch.undo()
    monkeypatch.setattr(dicom_study, "LARGEST_BYTES", 20_000)
    assert refused(page, upload(IMAGE, IMAGE))["key"] == "dicom.too_large"


def test_a_browser_that_stops_in_the_middle_holds_nobody_up(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    body = upload(IMAGE)
    head = f"POST /dicom HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", page.port)) as gone:
        gone.sendall(head + body[:100])
    monkeypatch.setattr(dicom_routes, "_READ_S", 0.5)
    with socket.create_connection(("127.0.0.1", page.port)) as silent:
        silent.sendall(head + body[:100])
        assert post(page, body)[0] == 200
        assert b"400" in silent.recv(100)


def test_without_pydicom_a_line_says_what_to_install(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> None:
        raise MissingExtraError(f"{module} is not installed: pip install 'usert[{extra}]'")

    monkeypatch.setattr(dicom_routes, "require", missing)
    assert refused(page, upload(IMAGE))["error"] == "pydicom is not installed: pip install 'usert[dicom]'"


def test_a_second_size_inside_a_picture_is_refused() -> None:
    def size(width: int, height: int) -> bytes:
        content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))

    for second in (size(16, 9), size(20_000, 20_000)):
        parsed = Upload.parse(upload(IMAGE[:33] + second + IMAGE[33:]))
        with pytest.raises(Refusal, match="damaged"):
            parsed.pixels(0)


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"^--dicom-folder: there is no folder .*none: make it"):
        DicomFolder.at(tmp_path / "none")
