"""CT slices for the load: one real slice, again and again, with new UIDs and a little noise."""

import os
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SOURCE = "693_UNCR.dcm"


def make_slices(folder: Path, count: int, *, series: int = 1) -> list[Path]:
    """Write ``count`` CT slices of 512 × 512 × 16 bits as ``series`` studies of one series each; return their paths.

    Every slice has other pixels: noise of one stored unit, so that no score can be reused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = get_testdata_file(SOURCE, download=False)
    if path is None:
        raise FileNotFoundError(f"{SOURCE}: install the package pydicom-data")
    dataset = pydicom.dcmread(path)
    stored = dataset.pixel_array
    rng = np.random.default_rng(0)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    paths = []
    for number in range(count):
        if number % -(-count // series) == 0:
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber = number + 1
        dataset.ImagePositionPatient = [0, 0, float(number)]
        dataset.SliceLocation = float(number)
        noise = rng.integers(-1, 2, stored.shape, dtype=stored.dtype)
        dataset.PixelData = (stored + noise * (stored > stored.min())).tobytes()
        target = folder / f"{number:05d}.dcm"
        dataset.save_as(target, enforce_file_format=True)
        paths.append(target)
    os.sync()
    return paths
