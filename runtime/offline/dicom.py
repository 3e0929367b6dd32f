"""A DICOM object of a result: Multi-frame True Color Secondary Capture, a page a frame, RLE lossless.

Attributes follow the modules of PS3.3, A.8.5. Invariant: what is not known is empty or absent: no patient and no time
is invented.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from usert import __version__
from usert.errors import OptionError, require

from .dicom_identity import identification, uid
from .pages import Pages

LARGEST_BYTES = 1 << 30
"""Largest size of all encoded pages, which are in memory together: about a thousand pages."""
_REGULAR = 0.01
"""Largest relative departure from the mean interval with which one frame time is written."""


def write_dicom(path: Path, pages: Pages, *, like: str | os.PathLike[str] | None = None) -> None:
    """Write all pages as one DICOM object; `like`: a DICOM file of the same study.

    Errors: `MissingExtraError`; `FormatError` where `like` is not a DICOM file; `OptionError` for too many pages.
    """
    require("pydicom", "dicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, MultiFrameTrueColorSecondaryCaptureImageStorage, RLELossless

    identity = identification(like)
    frames, size, digest = _encoded(pages)
    instance = UID(uid("instance", digest, *sorted(pages.attributes.items()), *sorted(identity.items())))
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for name, value in identity.items():
        setattr(dataset, name, value)
    if "StudyInstanceUID" not in identity:
        dataset.StudyInstanceUID = uid("study", pages.attributes["recording_sha256"])
    dataset.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    dataset.SOPInstanceUID = instance
    _describe_series(dataset, pages, instance)
    _describe_frames(dataset, pages)
    _describe_pixels(dataset, pages, size)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = instance
    dataset.save_as(path, enforce_file_format=True)


def _encoded(pages: Pages) -> tuple[list[bytes], tuple[int, int], str]:
    """Every page in RLE, their rows and columns, and a hash of them all."""
    from pydicom.pixels.encoders.base import get_encoder
    from pydicom.uid import RLELossless

    encoder = get_encoder(RLELossless)
    frames, size, digest, held = [], (0, 0), hashlib.sha256(), 0
    for index, page in enumerate(pages):
        pixels = np.asarray(page)
        size = pixels.shape[0], pixels.shape[1]
        frames.append(
            encoder.encode(
                pixels.tobytes(),
                rows=size[0],
                columns=size[1],
                samples_per_pixel=3,
                bits_allocated=8,
                bits_stored=8,
                pixel_representation=0,
                planar_configuration=0,
                photometric_interpretation="RGB",
                number_of_frames=1,
            )
        )
        digest.update(frames[-1])
        held += len(frames[-1])
        if held > LARGEST_BYTES:
            raise OptionError(
                f"--also dicom: got {len(pages)} pairs, of which {index} fill the {LARGEST_BYTES / 1e9:.2f} GB "
                "that one object may take: choose fewer by --pairs"
            )
    return frames, size, digest.hexdigest()


def _describe_series(dataset: Any, pages: Pages, instance: str) -> None:
    made_by = pages.attributes
    dataset.Modality = "US"
    dataset.SeriesInstanceUID = uid("series", instance)
    dataset.SeriesNumber = dataset.Laterality = dataset.PatientOrientation = None  # not known
    dataset.SeriesDescription = "Axial strain of ultrasound RF (usert)"
    dataset.InstanceNumber = 1
    dataset.ConversionType = "WSD"
    dataset.SecondaryCaptureDeviceManufacturer = "usert"
    dataset.SecondaryCaptureDeviceSoftwareVersions = __version__
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BurnedInAnnotation = "NO"  # of a patient or a date: there is none on a page
    dataset.LossyImageCompression = "00"
    dataset.DerivationDescription = (
        f"B-mode, axial strain in percent (compression positive) and quality of pairs of RF frames; "
        f"usert {made_by['usert_version']}, method {made_by['method']}, engine {made_by['engine']}, "
        f"recording sha256 {made_by['recording_sha256']}, bundle sha256 {made_by['bundle_sha256'] or 'none'}"
    )
    dataset.ImageComments = "Not a medical device. For research. Not for diagnosis."


def _describe_frames(dataset: Any, pages: Pages) -> None:
    from pydicom.tag import Tag

    dataset.NumberOfFrames = len(pages)
    times_ns = pages.acquired_ns
    if times_ns is None or len(times_ns) < 2:
        dataset.FrameIncrementPointer = Tag("PageNumberVector")
        dataset.PageNumberVector = list(range(1, len(pages) + 1))
        return
    start = datetime.fromtimestamp(int(times_ns[0]) / 1e9, UTC)
    dataset.AcquisitionDateTime = start.strftime("%Y%m%d%H%M%S.%f+0000")
    steps_ms = np.diff(times_ns) / 1e6
    mean_ms = float(steps_ms.mean())
    if (np.abs(steps_ms - mean_ms) <= _REGULAR * mean_ms).all():
        dataset.FrameIncrementPointer = Tag("FrameTime")
        dataset.FrameTime = _decimal(mean_ms)
    else:
        dataset.FrameIncrementPointer = Tag("FrameTimeVector")
        dataset.FrameTimeVector = [_decimal(step) for step in (0.0, *steps_ms)]


def _describe_pixels(dataset: Any, pages: Pages, size: tuple[int, int]) -> None:
    dataset.Rows, dataset.Columns = size
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelSpacing = [_decimal(step) for step in pages.pixel_mm]
    dataset.PixelSpacingCalibrationType = "GEOMETRY"
    dataset.PixelSpacingCalibrationDescription = (
        f"Inside the images; sound speed {pages.scan.sound_speed_m_s:g} m/s assumed"
    )


def _decimal(value: float) -> str:
    """A number as a DS, of at most 16 characters."""
    return f"{value:.9g}"
