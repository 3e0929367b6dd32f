"""Files that people keep of a result: whole or not there, and saying what they should to who reads them back."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import h5py
import numpy as np
import pydicom
import pytest
from PIL import Image

from usert.beam_space import BeamSpace
from usert.errors import FormatError, OptionError
from usert.frame import RFFrame, Scan
from usert.recording import Recording, write_recording
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.offline import dicom
from usert.runtime.offline.dicom_identity import uid
from usert.runtime.offline.outputs import is_current, make_output, output_path
from usert.runtime.offline.pages import Pages
from usert.runtime.offline.recipe import Recipe
from usert.runtime.offline.result_file import ResultReader
from usert.runtime.offline.run_pairs import estimate_pairs

SHAPE = (400, 60)
START_NS = 1_790_000_000_123_456_789
MEANS = (0.010, -0.008, 0.012, 0.011)


class Known:
    """An engine whose strain is known: of one size a pair, with a hard disc, poor quality in the last rows."""

    name = "usert.estimators known"
    strain_window_at = staticmethod(lambda scan: 17)

    def __init__(self) -> None:
        self.calls = 0

    def run(self, reference: Any, current: Any, scan: object = None) -> Estimate:
        mean = MEANS[self.calls]
        self.calls += 1
        row, line = np.indices(SHAPE)
        strain = np.full(SHAPE, mean, np.float32)
        strain[((row - 200) / 80) ** 2 + ((line - 30) / 12) ** 2 < 1] = mean / 3
        quality = np.ones(SHAPE, np.float32)
        quality[350:] = 0.2
        return Estimate(displacement=np.zeros((2, *SHAPE), np.float32), strain=strain, quality=quality)


Made = tuple[Path, Path]


@pytest.fixture
def make(tmp_path: Path, make_frame: Callable[..., RFFrame]) -> Callable[..., Made]:
    """A recording of five frames at the given times in ms, or at unknown ones, and its result."""

    def make(times_ms: tuple[float, ...] | None = (0, 50, 100, 150, 200), **geometry: float) -> Made:
        recording, result = tmp_path / "rec.h5", tmp_path / "res.h5"
        frames = [make_frame(seed=k, shape=SHAPE) for k in range(5)]
        at = [0] * 5 if times_ms is None else [START_NS + round(1e6 * t) for t in times_ms]
        scan = replace(frames[0].scan, **geometry)
        write_recording(
            recording, [replace(f, acquired_ns=t, scan=scan) for f, t in zip(frames, at, strict=True)]
        )
        engine: Any = Known()
        with Recording(recording) as source:
            pairs = tuple((k, k + 1) for k in range(4))
            made_of = Recipe().origin(
                source, called="rec.h5", engine=engine, engine_name=engine.name, bundle=None
            )
            estimate_pairs(
                source, engine, None, result, pairs=pairs, observe=lambda *_: None, made_of=made_of
            )
        return recording, result

    return make


def made_of(kind: str, made: Made, **options: Any) -> Path:
    return make_output(kind, recording=made[0], result=made[1], **options)


def test_pictures_of_all_pairs_in_colours_that_mean_the_same(make: Callable[..., Made], scan: Scan) -> None:
    made = make()
    folder = made_of("png", made)
    assert folder == made[1].with_name("res-png")
    names = ["00000_0-1.png", "00001_1-2.png", "00002_2-3.png", "00003_3-4.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    with Recording(made[0]) as source, ResultReader(made[1]) as stored:
        pages = Pages(source, stored)
        softs = pages._softs
        depth_mm, width_mm = pages.pixel_mm
    assert softs == pytest.approx([0.0117, -0.0117, 0.0117, 0.0117], rel=0.01)
    assert depth_mm == pytest.approx(width_mm, rel=0.01)
    assert depth_mm == pytest.approx(SHAPE[0] * scan.axial_pitch_mm / 560, rel=0.01)


def test_the_scale_is_not_that_of_a_pair_that_failed() -> None:
    def pages(*pairs: tuple[float, float]) -> list[float]:
        class Result:
            def __init__(self) -> None:
                self.pairs = [(k, k + 1) for k in range(len(pairs))]
                self.attributes: dict[str, Any] = {}

            def estimate(self, k: int) -> Estimate:
                level, trust = (np.full((8, 8), value, np.float32) for value in pairs[k])
                return Estimate(displacement=np.zeros((2, 8, 8), np.float32), strain=level, quality=trust)

        result: Any = Result()
        recording: Any = SimpleNamespace(scan=None)
        return Pages(recording, result)._softs

    assert pages((0.01, 0.9), (0.01, 0.9), (0.8, 0.1)) == pytest.approx([0.01, 0.01, 0.01])
    assert pages((0.01, 0.1), (-0.01, 0.1)) == pytest.approx([0.01, -0.01])


@pytest.mark.parametrize("kind", ["png", "mp4", "dicom"])
def test_the_same_result_gives_the_same_bytes_and_is_current(make: Callable[..., Made], kind: str) -> None:
    made = make()
    assert not is_current(made[1], kind)

    def digest() -> dict[str, str]:
        path = made_of(kind, made)
        files = [path] if path.is_file() else sorted(path.iterdir())
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    first = digest()
    assert is_current(made[1], kind)
    assert digest() == first
    made[1].touch()
    assert not is_current(made[1], kind)
    assert not list(made[1].parent.glob("*.part"))


def test_a_folder_that_holds_more_is_not_replaced(make: Callable[..., Made]) -> None:
    made = make()
    folder = made_of("png", made)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=folder.name):
        made_of("png", made)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["png", "mp4", "dicom"])
def test_stopped_it_leaves_nothing(make: Callable[..., Made], kind: str) -> None:
    made = make()
    asked = iter(range(100))
    with pytest.raises(KeyboardInterrupt):
        made_of(kind, made, stopped=lambda: next(asked) == 6)
    assert sorted(path.name for path in made[1].parent.iterdir()) == ["rec.h5", "res.h5"]


def test_video_shows_the_pages_when_they_were(make: Callable[..., Made]) -> None:
    made = make((0, 50, 100, 250, 300))
    folder, video = made_of("png", made), made_of("mp4", made)
    with av.open(str(video)) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].codec_context.name == "h264"
    assert [round(1e3 * frame.time) for frame in frames] == [0, 50, 200, 250]
    for frame, picture in zip(frames, sorted(folder.iterdir()), strict=True):
        pixels = frame.to_ndarray(format="rgb24").astype(float)
        with Image.open(picture) as page:
            drawn = np.asarray(page).astype(float)
        assert [side % 2 for side in pixels.shape[:2]] == [0, 0]
        departure = np.abs(pixels[: drawn.shape[0], : drawn.shape[1]] - drawn)
        assert departure.mean() < 4
    untimed = make(None)
    with av.open(str(made_of("mp4", untimed))) as container:
        assert [round(1e3 * frame.time) for frame in container.decode(video=0)] == [0, 100, 200, 300]


def test_spacing_in_dicom_is_that_of_the_fan(make: Callable[..., Made]) -> None:
    made = make(radius_mm=40.0, line_angle_deg=1.0)
    with Recording(made[0]) as source:
        extent_mm = BeamSpace.of(source.scan, source.shape).extent_mm
    depth_mm, width_mm = pydicom.dcmread(made_of("dicom", made)).PixelSpacing
    assert max(extent_mm) / 560 == pytest.approx(width_mm)
    assert depth_mm == pytest.approx(width_mm, rel=0.01)


def test_dicom_object_says_what_it_is(make: Callable[..., Made], scan: Scan) -> None:
    made = make()
    folder = made_of("png", made)
    found = pydicom.dcmread(made_of("dicom", made))
    assert found.SOPClassUID.name == "Multi-frame True Color Secondary Capture Image Storage"
    assert found.file_meta.TransferSyntaxUID.name == "RLE Lossless"
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
    assert (found.Modality, found.ConversionType, found.BurnedInAnnotation) == ("US", "WSD", "NO")
    assert list(found.ImageType) == ["DERIVED", "SECONDARY"]
    assert found.NumberOfFrames == 4
    assert found[found.FrameIncrementPointer].keyword == "FrameTime"
    assert float(found.FrameTime) == pytest.approx(50)
    assert found.AcquisitionDateTime == "20260921141320.173457+0000"
    depth_mm, width_mm = found.PixelSpacing
    assert depth_mm == pytest.approx(SHAPE[0] * scan.axial_pitch_mm / 560)
    assert width_mm == pytest.approx(depth_mm, rel=0.01)
    assert found.PixelSpacingCalibrationType == "GEOMETRY"
    assert "compression positive" in found.DerivationDescription
    with h5py.File(made[1]) as file:
        assert file.attrs["recording_sha256"] in found.DerivationDescription
    for name in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "AccessionNumber",
    ):
        assert not found[name].value
    pixels = found.pixel_array
    for frame, picture in zip(pixels, sorted(folder.iterdir()), strict=True):
        with Image.open(picture) as page:
            np.testing.assert_array_equal(frame, np.asarray(page))


def test_times_of_a_dicom_object_are_those_of_the_frames_or_none(make: Callable[..., Made]) -> None:
    found = pydicom.dcmread(made_of("dicom", make((0, 50, 100, 250, 300))))
    assert found[found.FrameIncrementPointer].keyword == "FrameTimeVector"
    assert [float(step) for step in found.FrameTimeVector] == [0, 50, 150, 50]
    for unknown in (None, (0, 50, 100, 90, 140)):  # none, and a clock that was set back
        found = pydicom.dcmread(made_of("dicom", make(unknown)))
        assert found[found.FrameIncrementPointer].keyword == "PageNumberVector"
        assert list(found.PageNumberVector) == [1, 2, 3, 4]
    found = pydicom.dcmread(made_of("dicom", make(None)))
    assert "FrameTime" not in found
    assert "AcquisitionDateTime" not in found


def test_patient_and_study_are_those_of_a_file_or_nobodys(make: Callable[..., Made], tmp_path: Path) -> None:
    made = make()
    plain = pydicom.dcmread(made_of("dicom", made))
    like = pydicom.Dataset()
    like.SpecificCharacterSet = "ISO_IR 100"
    like.PatientName, like.PatientID, like.PatientSex = "Müller^Ä", "77", "O"
    like.StudyInstanceUID, like.StudyID, like.StudyDate = "1.2.3.4", "S1", "20260102"
    like.SOPClassUID, like.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.5"
    like.file_meta = pydicom.dataset.FileMetaDataset()
    like.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    like.save_as(tmp_path / "like.dcm", enforce_file_format=True)
    found = pydicom.dcmread(made_of("dicom", made, dicom_like=tmp_path / "like.dcm"))
    assert (str(found.PatientName), found.PatientID, found.PatientSex) == ("Müller^Ä", "77", "O")
    assert (found.StudyInstanceUID, found.StudyID, found.StudyDate) == ("1.2.3.4", "S1", "20260102")
    assert found.AccessionNumber == ""
    assert len({found.SOPInstanceUID, plain.SOPInstanceUID, "1.2.3.5"}) == 3
    assert found.SeriesInstanceUID != plain.SeriesInstanceUID
    with pytest.raises(FormatError, match=r"^--dicom-like: .*rec\.h5 .*DICOM"):
        made_of("dicom", made, dicom_like=made[0])
    with pytest.raises(FormatError, match=r"^--dicom-like: cannot read .*none: No such"):
        made_of("dicom", made, dicom_like=tmp_path / "none")
    theirs = (tmp_path / "like.dcm").replace(made[1].with_suffix(".dcm")).read_bytes()
    with pytest.raises(OptionError, match=r"^--dicom-like: got .*res\.dcm, "):
        made_of("dicom", made, dicom_like=made[1].with_suffix(".dcm"))
    assert made[1].with_suffix(".dcm").read_bytes() == theirs


def test_a_dicom_object_too_large_is_told(make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    made = make()
    monkeypatch.setattr(dicom, "LARGEST_BYTES", made_of("dicom", made).stat().st_size // 2)
    with pytest.raises(OptionError, match=r"got 4 pairs, .* [12] .* 0\.00 GB .*--pairs$"):
        made_of("dicom", made)


def test_uids_are_valid_and_follow_from_what_they_name() -> None:
    made = {uid("study", k) for k in range(200)}
    assert len(made) == 200
    assert all(pydicom.uid.UID(text).is_valid and len(text) <= 64 for text in made)
    assert uid("study", 7) in made


def test_one_recording_gets_its_files_and_kinds_have_names(make: Callable[..., Made], tmp_path: Path) -> None:
    recording, _ = make()
    words = ["run", recording, "--out", tmp_path / "o.h5", "--method", "ncc", "--pairs", "0:1,2:3"]
    words += ["--also", "png", "--also", "mp4", "--also", "dicom"]
    done = subprocess.run(
        [sys.executable, "-m", "usert", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == [
        f"png in {tmp_path / 'o-png'}",
        f"mp4 in {tmp_path / 'o.mp4'}",
        f"dicom in {tmp_path / 'o.dcm'}",
    ]
    assert sorted(path.name for path in (tmp_path / "o-png").iterdir()) == ["00000_0-1.png", "00001_2-3.png"]
    with h5py.File(tmp_path / "o.h5") as file:
        assert (file.attrs["method"], file.attrs["pairs"]) == ("ncc", "0:1,2:3")
        assert file.attrs["engine_version"] == file.attrs["usert_version"]
    with pytest.raises(OptionError, match=r"--also: got 'gif', expected .*png, mp4, dicom"):
        output_path("a.h5", "gif")
