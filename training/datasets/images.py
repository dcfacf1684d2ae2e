"""One file, one frame: the only way from a file to pixels and to the facts beside them.

Pixels are read by the same decoder as in service.
"""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels import PixelLimits, decode_frames, inspect, load_raster
from medfake_pacs.pixels.library import LIBRARY_ERRORS, one_line
from medfake_pacs.pixels.raster import is_raster
from training.datasets.record import Opened
from training.datasets.sample import Array, Fact

LIMITS = PixelLimits(
    max_pixels_per_frame=4096 * 4096,
    max_frames=2000,
    max_decoded_bytes=2**30,
    max_memory_bytes=2**32,
    timeout_s=60.0,
)
# Identifiers that de-identification leaves behind: they name nobody, and many at once.
_PLACEHOLDERS = ("anon", "anonymous", "anonymized", "anonymised", "unknown", "none", "patient", "test", "0")
_KEYWORDS = [
    "SOPClassUID", "PatientID", "Rows", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality",
    "Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "SliceThickness", "PixelSpacing",
    "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber", "NumberOfFrames",
    "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelPaddingValue", "RescaleIntercept", "RescaleSlope",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a DICOM file says of itself, as far as the readers need it; empty or None where it is absent."""

    patient_id: str
    study: str
    series: str
    instance: str
    modality: str
    position_mm: float | None
    instance_number: int | None
    frames: int
    axial: bool
    spacing_mm: tuple[float, float] | None
    facts: Mapping[str, Fact]


def read_header(path: Path) -> Header:
    """A DICOM file's header, without its pixels.

    Raises: PixelError where the file can't be parsed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Exports without preamble are decoded too; what isn't DICOM at all yields a data set of nothing.
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(_KEYWORDS))
            if "SOPClassUID" not in dataset and "Rows" not in dataset:
                raise PixelError("neither a DICOM, PNG nor JPEG file")
            return _header(dataset)
    except LIBRARY_ERRORS as error:
        raise PixelError(f"not a DICOM file that can be read: {one_line(error)}") from error


def _header(dataset: Dataset) -> Header:
    position = _numbers(dataset.get("ImagePositionPatient"), 3)
    orientation = _numbers(dataset.get("ImageOrientationPatient"), 6)
    spacing = _numbers(dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing"), 2)
    number = _numbers(dataset.get("InstanceNumber"), 1)
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", "") if hasattr(dataset, "file_meta") else ""
    facts: dict[str, Fact] = {
        "bits_allocated": int(dataset.get("BitsAllocated") or 0),
        "signed": int(dataset.get("PixelRepresentation") or 0),
        "codec": str(syntax),
        "manufacturer": _text(dataset, "Manufacturer"),
        "model": _text(dataset, "ManufacturerModelName"),
        "kernel": _text(dataset, "ConvolutionKernel"),
    }
    for name, keyword in (("thickness_mm", "SliceThickness"), ("intercept", "RescaleIntercept")):
        value = _numbers(dataset.get(keyword), 1)
        if value is not None:
            facts[name] = value[0]
    return Header(
        patient_id=_text(dataset, "PatientID"),
        study=_text(dataset, "StudyInstanceUID"),
        series=_text(dataset, "SeriesInstanceUID"),
        instance=_text(dataset, "SOPInstanceUID"),
        modality=_text(dataset, "Modality"),
        position_mm=position[2] if position else None,
        instance_number=int(number[0]) if number else None,
        frames=int((_numbers(dataset.get("NumberOfFrames"), 1) or (1,))[0]),
        axial=orientation is None or abs(orientation[0] * orientation[4] - orientation[1] * orientation[3]) > 0.9,
        spacing_mm=(spacing[0], spacing[1]) if spacing else None,
        facts=facts,
    )


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    if value is None:
        return ""
    return str(value).strip() if isinstance(value, str) else "\\".join(str(each).strip() for each in _listed(value))


def _listed(value: Any) -> list[Any]:
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, or None."""
    if value is None or value == "":
        return None
    try:
        numbers = tuple(float(each) for each in _listed(value))
    except (TypeError, ValueError):
        return None
    return numbers[:count] if len(numbers) >= count and np.isfinite(numbers[:count]).all() else None


def named_patient(header: Header) -> str:
    """Who is on the image: the Patient ID, or the study where de-identification left a word that fits everyone."""
    word = header.patient_id.strip().lower().strip("0_-. ") or "0"
    return f"study-{header.study}" if word in _PLACEHOLDERS and header.study else header.patient_id


def open_image(path: Path, frame: int = 1) -> Opened:
    """One frame of a DICOM, PNG or JPEG file in modality units, with what is stored beside it.

    Raises: PixelError where it can't be read.
    """
    if is_raster(path):
        info, decoded = load_raster(path)
        codec = "JPEG" if info.lossy else "PNG"
        facts: dict[str, Fact] = {"codec": codec, "bits": info.bits_stored, **extent(decoded.values)}
        return Opened(values=decoded.values, stored=facts, lossy=info.lossy)
    header = read_header(path)
    info = inspect(path, LIMITS)
    found = next(islice(decode_frames(path, LIMITS), frame - 1, frame), None)
    if found is None:
        raise PixelError(f"there is no frame {frame}")
    facts = {**header.facts, "bits": info.bits_stored, **extent(found.values)}
    units = "HU" if info.units == "HU" else ""
    return Opened(values=found.values, stored=facts, lossy=info.lossy, spacing_mm=header.spacing_mm, units=units)


def extent(values: Array) -> dict[str, Fact]:
    """Size and range of an image."""
    return {
        "rows": int(values.shape[0]),
        "columns": int(values.shape[1]),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def pixel_sha256(values: Array) -> str:
    """A digest of pixel values (H, W) and their shape: equal whatever file or lossless codec they came in."""
    digest = hashlib.sha256(f"pixels-1;{values.shape};".encode("ascii"))
    digest.update(np.ascontiguousarray(values, "<f4").data)
    return digest.hexdigest()
