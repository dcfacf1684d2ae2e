"""Wrap an uploaded picture into a Secondary Capture object (PS3.3 A.8), for a report has to refer to objects."""

from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from pydicom.dataset import Dataset

from medfake_pacs import __version__
from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import DecoderProcess
from medfake_pacs.report.build import encode
from medfake_pacs.report.files import write_durably
from medfake_pacs.workflows.check_assessment import SECONDARY_CAPTURE

_FORMATS = {"png": "PNG", "jpeg": "JPEG"}
Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def wrap(decoder: DecoderProcess, row: sa.Row, source: Path, number: int, now: datetime, path: Path) -> bool:
    """Write the object for the picture of a ``check_files`` row to ``path``; False if it can't be decoded."""
    try:
        samples, lossy = decoder.samples(source)
    except PixelError:
        return False
    dataset = Dataset()
    _identify(dataset, row, number, now)
    dataset.DerivationDescription = f"Made from an uploaded {_FORMATS[row.kind]} file, SHA-256 {row.sha256}"
    dataset.LossyImageCompression = "01" if lossy else "00"
    if lossy:
        dataset.LossyImageCompressionRatio = f"{max(1.0, samples.nbytes / row.size_bytes):.2f}"
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
    _add_pixels(dataset, samples)
    write_durably(path, encode(dataset))
    return True


def _identify(dataset: Dataset, row: sa.Row, number: int, now: datetime) -> None:
    """Fill the modules of patient, study, series and equipment: nobody's, and made here."""
    dataset.SOPClassUID = SECONDARY_CAPTURE
    dataset.SOPInstanceUID = row.sop_instance_uid
    dataset.StudyInstanceUID = row.study_instance_uid
    dataset.SeriesInstanceUID = row.series_instance_uid
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName", "StudyID",
        "AccessionNumber", "PatientOrientation", "Laterality",
    ):  # fmt: skip
        setattr(dataset, keyword, "")
    for prefix in ("Study", "Content", "InstanceCreation"):
        setattr(dataset, f"{prefix}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{prefix}Time", now.strftime("%H%M%S"))
    dataset.TimezoneOffsetFromUTC = "+0000"
    dataset.Modality = "OT"
    dataset.ConversionType = "WSD"
    dataset.SecondaryCaptureDeviceManufacturer = "medfake_pacs"
    dataset.SecondaryCaptureDeviceSoftwareVersions = __version__
    dataset.Manufacturer = "medfake_pacs"
    dataset.SeriesNumber = number
    dataset.InstanceNumber = 1
    dataset.ImageType = ["DERIVED", "SECONDARY"]


def _add_pixels(dataset: Dataset, samples: Samples) -> None:
    colour = samples.ndim == 3
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = samples.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8 * samples.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    content = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OW" if samples.dtype.itemsize > 1 else "OB", content + b"\0" * (len(content) % 2))
