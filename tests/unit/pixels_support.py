"""Small DICOM files made on the spot, and limits that suit them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medfake_pacs.entities import DecodedFrame
from medfake_pacs.pixels import PixelLimits, decode_frames

LIMITS = PixelLimits(
    max_pixels_per_frame=1 << 26,
    max_frames=10_000,
    max_decoded_bytes=1 << 31,
    max_memory_bytes=2 << 30,
    timeout_s=30.0,
)


def dataset(stored: npt.NDArray[Any], *, frames: int = 1, **attributes: Any) -> Dataset:
    """Return an image data set of ``stored``: (H, W), (H, W, 3), or with frames first when ``frames`` is above one."""
    image = Dataset()
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    image.Modality = "CT"
    shape = stored.shape[1:] if frames > 1 else stored.shape
    image.Rows, image.Columns = shape[:2]
    image.SamplesPerPixel = 3 if len(shape) == 3 else 1
    image.PhotometricInterpretation = "RGB" if len(shape) == 3 else "MONOCHROME2"
    if len(shape) == 3:
        image.PlanarConfiguration = 0
    if frames > 1:
        image.NumberOfFrames = frames
    image.BitsAllocated = image.BitsStored = stored.dtype.itemsize * 8
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(stored.dtype.kind == "i")
    image.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    image["PixelData"].VR = "OW" if stored.dtype.itemsize > 1 else "OB"
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    return image


def write(image: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write a Part 10 file; compressed pixel data must be encapsulated already."""
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    image.save_as(path, little_endian=little, implicit_vr=implicit, enforce_file_format=True)
    return path


def frames_of(path: Path, limits: PixelLimits = LIMITS) -> list[DecodedFrame]:
    """Return all frames of a file, decoded in this process."""
    return list(decode_frames(path, limits))


def ramp(dtype: str = "<u2", rows: int = 8, columns: int = 6) -> npt.NDArray[Any]:
    """Return an image whose every value tells its position."""
    return np.arange(rows * columns).reshape(rows, columns).astype(dtype)
