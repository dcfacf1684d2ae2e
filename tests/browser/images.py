"""Images to check: real ones that Python packages ship, and copies of them that the forge has just manipulated."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from medfake_pacs.demo.forgery import manipulated_copy, with_pixels
from tests import material

# A part of the leg that shows a joint: (top, left, side) in pixels.
_JOINT = (1350, 600, 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Files for the upload form; the fakes are manipulated copies of the real ones."""

    lung_real: Path
    lung_fake: Path
    knee_real: Path
    knee_fake: Path
    knee_png: Path


def make_images(folder: Path) -> Images:
    """Write the files under ``folder``."""
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the packages' files are there because they are odd
        lung = _named(material.shipped(material.CT_512), "CT^Lung")
        knee = _named(_part(material.shipped(material.RADIOGRAPH), _JOINT), "XR^Knee")
        paths = {
            "lung_real": _saved(lung, folder / "lung-real.dcm"),
            "lung_fake": _saved(manipulated_copy(lung, "inpaint", 1), folder / "lung-fake.dcm"),
            "knee_real": _saved(knee, folder / "knee-real.dcm"),
            "knee_fake": _saved(manipulated_copy(knee, "nodule", 2), folder / "knee-fake.dcm"),
            "knee_png": _as_png(knee, folder / "knee.png"),
        }
    return Images(**paths)


def _named(dataset: Dataset, name: str) -> Dataset:
    dataset.PatientName = name
    dataset.PatientID = "BROWSER-1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _part(dataset: Dataset, place: tuple[int, int, int]) -> Dataset:
    top, left, side = place
    pixels = np.ascontiguousarray(dataset.pixel_array[top : top + side, left : left + side])
    return with_pixels(dataset, pixels, "A part of the image")


def _saved(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def _as_png(dataset: Dataset, path: Path) -> Path:
    values = dataset.pixel_array.astype(np.float32)
    values = (values - values.min()) / max(float(np.ptp(values)), 1.0)
    Image.fromarray((values * 255).astype(np.uint8)).save(path)
    return path
