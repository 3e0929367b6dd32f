"""One DICOM object of pictures: Secondary Capture, or Multi-frame True Color Secondary Capture, RLE lossless.

Attributes follow the modules of PS3.3, A.8.1 and A.8.5. Invariant: what is not known is empty or absent: no patient and
no time is invented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert import __version__

NOTICE = "Not a medical device. For research. Not for diagnosis."
_REGULAR = 0.01
"""Largest relative departure from the mean interval with which one frame time is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """Pictures of one size, and everything that an object says of them."""

    frames: Sequence[bytes]
    """Each picture as `encode_rle` makes it."""
    size: tuple[int, int]
    """Rows and columns."""
    pixel_mm: tuple[float, float]
    """Depth and width of a pixel inside the images."""
    calibration: str
    """Where and under which assumption `pixel_mm` holds."""
    identity: Mapping[str, str]
    """Attributes of patient and study by keyword, with `StudyInstanceUID`."""
    instance_uid: str
    series_uid: str
    series: Mapping[str, Any]
    """Further attributes of the series by keyword."""
    derivation: str
    """How the pictures came about."""
    multi_frame: bool = True
    """Whether it is a multi-frame object; False: a single picture."""
    start: datetime | None = None
    """When the first picture was acquired, with its time zone; None where unknown."""
    steps_ms: Sequence[float] | None = None
    """Times between consecutive pictures; None where unknown."""
    instance: Mapping[str, Any] = field(default_factory=dict)
    """Further attributes of this object by keyword."""


def encode_rle(pixels: NDArray[np.uint8]) -> bytes:
    """RGB `pixels` (rows, columns, 3) in RLE lossless (PS3.5, Annex G); needs pydicom."""
    from pydicom.pixels.encoders.base import get_encoder
    from pydicom.uid import RLELossless

    encoded: bytes = get_encoder(RLELossless).encode(
        pixels.tobytes(),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples_per_pixel=3,
        bits_allocated=8,
        bits_stored=8,
        pixel_representation=0,
        planar_configuration=0,
        photometric_interpretation="RGB",
        number_of_frames=1,
    )
    return encoded


def make_object(capture: Capture) -> Any:
    """The `pydicom.Dataset` of `capture`, with file meta information."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import (
        UID,
        MultiFrameTrueColorSecondaryCaptureImageStorage,
        RLELossless,
        SecondaryCaptureImageStorage,
    )

    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for name, value in (*capture.identity.items(), *capture.series.items(), *capture.instance.items()):
        setattr(dataset, name, value)
    multi = capture.multi_frame
    dataset.SOPClassUID = (
        MultiFrameTrueColorSecondaryCaptureImageStorage if multi else SecondaryCaptureImageStorage
    )
    dataset.SOPInstanceUID = UID(capture.instance_uid)
    dataset.SeriesInstanceUID = capture.series_uid
    _describe_device(dataset)
    dataset.DerivationDescription = capture.derivation
    _describe_times(dataset, capture)
    _describe_pixels(dataset, capture)
    dataset.PixelData = encapsulate(list(capture.frames))
    dataset["PixelData"].VR = "OB"

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _describe_device(dataset: Any) -> None:
    dataset.Modality = "US"
    dataset.Laterality = dataset.PatientOrientation = None  # not known
    dataset.ConversionType = "WSD"
    dataset.SecondaryCaptureDeviceManufacturer = "usert"
    dataset.SecondaryCaptureDeviceSoftwareVersions = __version__
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BurnedInAnnotation = "NO"  # of a patient or a date: there is none in the pixels
    dataset.LossyImageCompression = "00"
    dataset.ImageComments = NOTICE


def _describe_times(dataset: Any, capture: Capture) -> None:
    from pydicom.tag import Tag

    if capture.start is not None:
        dataset.AcquisitionDateTime = capture.start.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f+0000")
    if not capture.multi_frame:
        return
    dataset.NumberOfFrames = len(capture.frames)
    if not capture.steps_ms or min(capture.steps_ms) <= 0:  # no times that a player could keep
        dataset.FrameIncrementPointer = Tag("PageNumberVector")
        dataset.PageNumberVector = list(range(1, len(capture.frames) + 1))
        return
    steps_ms = np.asarray(capture.steps_ms)
    mean_ms = float(steps_ms.mean())
    if (np.abs(steps_ms - mean_ms) <= _REGULAR * mean_ms).all():
        dataset.FrameIncrementPointer = Tag("FrameTime")
        dataset.FrameTime = decimal(mean_ms)
    else:
        dataset.FrameIncrementPointer = Tag("FrameTimeVector")
        dataset.FrameTimeVector = [decimal(step) for step in (0.0, *steps_ms)]


def _describe_pixels(dataset: Any, capture: Capture) -> None:
    dataset.Rows, dataset.Columns = capture.size
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelSpacing = [decimal(step) for step in capture.pixel_mm]
    dataset.PixelSpacingCalibrationType = "GEOMETRY"
    dataset.PixelSpacingCalibrationDescription = capture.calibration


def decimal(value: float) -> str:
    """A number as a DS, of at most 16 characters."""
    return f"{value:.9g}"
