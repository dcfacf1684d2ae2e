"""Images to check: a real CT slice and knee radiograph of the shared data, and copies that the forge manipulates."""

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from medfake_pacs.demo.forgery import manipulated_copy, with_pixels
from tests import material
from tests.support import need_data

_LUNG = "ct/tcga-luad/TCGA-60-2695/ID_0002_AGE_0074_CONTRAST_1_CT.dcm"
_KNEE = "xray_knee/chen2018-oai-kl/KL0/labeled_KL0_image536.png"


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
        lung = _named(dcmread(need_data("ct").parent / _LUNG), "CT^Lung")
        knee_png = need_data("xray_knee").parent / _KNEE
        knee = _named(_as_dicom(knee_png), "XR^Knee")
        paths = {
            "lung_real": _saved(lung, folder / "lung-real.dcm"),
            "lung_fake": _saved(manipulated_copy(lung, "inpaint", 1), folder / "lung-fake.dcm"),
            "knee_real": _saved(knee, folder / "knee-real.dcm"),
            "knee_fake": _saved(manipulated_copy(knee, "nodule", 2), folder / "knee-fake.dcm"),
            "knee_png": knee_png,
        }
    return Images(**paths)


def copies(path: Path, count: int) -> list[Dataset]:
    """Return a series whose slices are the image at ``path``, each a little noisier in its own way."""
    original = dcmread(path)
    random = np.random.default_rng(0)
    slices = []
    for number in range(1, count + 1):
        dataset = copy.deepcopy(original)
        stored = original.pixel_array + random.integers(0, 2, original.pixel_array.shape, original.pixel_array.dtype)
        dataset.set_pixel_data(stored, "MONOCHROME2", original.BitsStored)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber, dataset.ImagePositionPatient = number, [0, 0, float(number)]
        slices.append(dataset)
    return slices


def _named(dataset: Dataset, name: str) -> Dataset:
    dataset.PatientName = name
    dataset.PatientID = "BROWSER-1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _as_dicom(path: Path) -> Dataset:
    """Return a radiograph with the pixels of a PNG file."""
    dataset = material.shipped(material.RADIOGRAPH)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    with Image.open(path) as picture:
        return with_pixels(dataset, np.asarray(picture.convert("L"), dtype=np.uint16), "From a PNG file")


def _saved(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path
