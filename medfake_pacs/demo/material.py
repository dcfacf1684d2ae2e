"""The images of the demonstration: real ones from ``pydicom-data`` and pydicom, and manipulated copies."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGLSLossless

from medfake_pacs.demo.case import Case, DemoError
from medfake_pacs.demo.forgery import manipulated_copy, with_pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A real image that the packages ship, and the families of manipulation to apply to copies of it.

    ``crop`` is (top, left, side) in pixels of a part that is sent instead of the whole.
    """

    file: str
    description: str
    families: tuple[str, ...]
    crop: tuple[int, int, int] | None = None


_SOURCES = (
    _Source(file="RG3_J2KR.dcm", description="radiograph, leg", families=("nodule",)),
    _Source(
        file="RG3_J2KR.dcm",
        description="radiograph, ankle joint",
        families=("nodule", "poisson", "upsample"),
        crop=(1350, 600, 400),
    ),
    _Source(file="RG1_UNCR.dcm", description="radiograph, chest", families=("copymove",)),
    _Source(file="693_J2KR.dcm", description="CT, head", families=("inpaint", "reconstruct")),
    _Source(file="explicit_VR-UN.dcm", description="CT, abdomen", families=("nodule", "selfblend")),
    _Source(file="CT_small.dcm", description="CT, 128 px", families=("upsample",)),
)


def count_cases() -> int:
    """Return how many cases ``make_cases`` yields."""
    return sum(1 + len(source.families) for source in _SOURCES)


def make_cases(folder: Path, progress: Callable[[str], None]) -> Iterator[Case]:
    """Yield each real image, then its manipulated copies; what isn't sent as it is gets saved under ``folder``.

    Raises
    ------
    DemoError
        If a package doesn't have a file.
    """
    folder.mkdir(parents=True)
    for seed, source in enumerate(_SOURCES):
        real = _real(source, folder)
        yield _case(real, source.description)
        for number, family in enumerate(source.families):
            progress(f"{real.stem}: {family}")
            yield _manipulated(real, source.description, family, 100 * seed + number, folder)


def _real(source: _Source, folder: Path) -> Path:
    path = get_testdata_file(source.file, download=False)
    if path is None:
        raise DemoError(f"{source.file} is not there; install the package pydicom-data")
    if source.crop is None:
        return Path(str(path))
    top, left, side = source.crop
    target = folder / f"{Path(str(path)).stem}-part.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the packages' files are there because they are odd
        dataset = pydicom.dcmread(str(path))
        part = np.ascontiguousarray(dataset.pixel_array[top : top + side, left : left + side])
        cropped = with_pixels(dataset, part, f"Rows from {top}, columns from {left}, {side} of each")
        cropped.save_as(target, enforce_file_format=True)
    return target


def _manipulated(path: Path, description: str, family: str, seed: int, folder: Path) -> Case:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        copy = manipulated_copy(pydicom.dcmread(path), family, seed)
        copy.compress(JPEGLSLossless, generate_instance_uid=False)
        target = folder / f"{path.stem}-{family}.dcm"
        copy.save_as(target, enforce_file_format=True)
    return _case(target, description, family)


def _case(path: Path, description: str, family: str = "") -> Case:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    return Case(
        name=path.stem,
        description=description,
        study_instance_uid=str(header.StudyInstanceUID),
        path=path,
        transfer_syntax=header.file_meta.TransferSyntaxUID.name,
        manipulation=family,
    )
