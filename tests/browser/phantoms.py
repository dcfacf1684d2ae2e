"""Drawn images for pictures that are published: a chest CT and a knee radiograph of nobody, of ellipses and noise."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from scipy.ndimage import gaussian_filter

Array = npt.NDArray[np.float32]
_SIDE = 512
_KNEE = (640, 512)


def chest_series(
    count: int, *, patient: str, name: str, accession: str, seed: int, nodules: Sequence[int] = ()
) -> list[Dataset]:
    """Return a CT series from the apex downwards; in the slices ``nodules`` a ball is painted over a part of a lung."""
    rng = np.random.default_rng(seed)
    study, series = generate_uid(), generate_uid()
    datasets = []
    for number in range(count):
        values = _chest(number / max(count - 1, 1), rng)
        if number in nodules:
            values = _with_ball(values, (262, 152), 9.0)
        dataset = _dataset("CT", CTImageStorage, patient, name, accession)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.StudyDescription, dataset.SeriesDescription = "Chest, low dose", "Axial 2.5 mm"
        dataset.BodyPartExamined = "CHEST"
        dataset.InstanceNumber = number + 1
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
        dataset.WindowCenter, dataset.WindowWidth = [-600, 40], [1500, 400]
        dataset.WindowCenterWidthExplanation = ["LUNG", "MEDIASTINUM"]
        dataset.PixelSpacing, dataset.SliceThickness = [0.7, 0.7], 2.5
        dataset.ImagePositionPatient = [-180, -180, -2.5 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.FrameOfReferenceUID = study
        stored = np.clip(np.rint(values + 1024), 0, 4095).astype(np.uint16)
        dataset.set_pixel_data(stored, "MONOCHROME2", 12)
        datasets.append(dataset)
    return datasets


def knee(*, patient: str, name: str, accession: str, seed: int) -> Dataset:
    """Return one frontal radiograph of a knee."""
    rng = np.random.default_rng(seed)
    dataset = _dataset("DX", DigitalXRayImageStorageForPresentation, patient, name, accession)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.StudyDescription = dataset.SeriesDescription = "Knee, frontal"
    dataset.BodyPartExamined = "KNEE"
    dataset.InstanceNumber = 1
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImagerPixelSpacing = [0.3, 0.3]
    stored = np.clip(np.rint(_knee(rng) * 3600), 0, 4095).astype(np.uint16)
    dataset.WindowCenter, dataset.WindowWidth = 1900, 3600
    dataset.set_pixel_data(stored, "MONOCHROME2", 12)
    return dataset


def _dataset(modality: str, sop_class: str, patient: str, name: str, accession: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality = modality
    dataset.PatientID, dataset.PatientName, dataset.AccessionNumber = patient, name, accession
    dataset.PatientBirthDate, dataset.PatientSex = "19610417", "O"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260131", "081500", "1"
    dataset.ReferringPhysicianName = ""
    dataset.Manufacturer = "Drawn"
    dataset.SeriesNumber = 1
    return dataset


def _grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return rows.astype(np.float32), columns.astype(np.float32)


def _soft(distance: Array, width: float) -> Array:
    """Return 1 where ``distance`` is below 0, 0 above, with an edge of ``width``."""
    return np.clip(0.5 - distance / width, 0, 1).astype(np.float32)


def _ellipse(
    grid: tuple[Array, Array], centre: tuple[float, float], radii: tuple[float, float], turn: float = 0
) -> Array:
    """Return the mask, 0 to 1, of an ellipse; (row, column) in pixels, ``turn`` in radians."""
    rows, columns = grid[0] - centre[0], grid[1] - centre[1]
    along = rows * np.cos(turn) + columns * np.sin(turn)
    across = columns * np.cos(turn) - rows * np.sin(turn)
    radius = np.hypot(along / radii[0], across / radii[1])
    return _soft((radius - 1) * min(radii), 2.0)


def _noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> Array:
    """Return smooth noise with a standard deviation of one."""
    field = gaussian_filter(rng.standard_normal(shape).astype(np.float32), sigma)
    return field / field.std()


def _chest(depth: float, rng: np.random.Generator) -> Array:
    """Return a slice in HU; ``depth`` is 0 at the apex and 1 at the base."""
    grid = _grid((_SIDE, _SIDE))
    fullness = 0.62 + 0.38 * float(np.sin(np.pi * min(depth * 0.62 + 0.12, 1)))
    values = np.full((_SIDE, _SIDE), -1000, np.float32)

    def put(mask: Array, level: float | Array) -> None:
        values[:] = values * (1 - mask) + level * mask

    put(_ellipse(grid, (262, 256), (178, 226)), -95)
    put(_ellipse(grid, (262, 256), (160, 204)), 45 + 8 * _noise(values.shape, 3, rng))
    tissue = -862 + 26 * _noise(values.shape, 9, rng)
    vessels = np.clip(_noise(values.shape, 2.2, rng) - 1.35, 0, 1.2) * 620
    for side in (-1, 1):
        lung = _ellipse(grid, (258, 256 + side * 106), (128 * fullness, 78 * fullness), side * 0.16)
        put(lung, tissue + vessels)
    put(_ellipse(grid, (222, 256), (92, 40)), 42)
    put(_ellipse(grid, (215 + 20 * depth, 282), (58 * depth + 20, 62 * depth + 18), 0.5), 48)
    put(_ellipse(grid, (188, 256), (12, 10)), -960 if depth < 0.5 else 40)
    put(_ellipse(grid, (300, 296), (17, 17)), 95)
    put(_ellipse(grid, (352, 256), (31, 34)), 330 + 60 * _noise(values.shape, 1.5, rng))
    put(_ellipse(grid, (352, 256), (25, 28)), 190 + 50 * _noise(values.shape, 1.5, rng))
    put(_ellipse(grid, (392, 256), (12, 10)), 30)
    put(_ellipse(grid, (424, 256), (20, 6)), 420)
    put(_ellipse(grid, (112, 256), (8, 26)), 310)
    for number in range(14):
        angle = np.pi * (number + 0.5 + 0.4 * depth) / 7
        centre = (262 + 146 * np.cos(angle), 256 + 190 * np.sin(angle))
        put(_ellipse(grid, centre, (5.5, 19), angle), 470)
        put(_ellipse(grid, centre, (2.5, 14), angle), 180)
    return gaussian_filter(values, 0.8) + 60 * _noise(values.shape, 0.35, rng)


def _with_ball(values: Array, centre: tuple[float, float], radius: float) -> Array:
    grid = _grid(values.shape)
    distance = np.hypot(grid[0] - centre[0], grid[1] - centre[1])
    # Around the ball it is too smooth, as where a generator has filled in.
    around = _soft(distance - 7 * radius, 12.0)
    values = values * (1 - around) + gaussian_filter(values, 3.3) * around
    ball = _soft(distance - radius, 3.0)
    return values * (1 - ball) + 55 * ball


def _knee(rng: np.random.Generator) -> Array:
    """Return a radiograph from 0 (air) to about 1 (dense bone)."""
    rows, columns = _grid(_KNEE)
    middle = 256 + 6 * np.sin(rows / 140)
    leg = _soft(np.abs(columns - middle) - (178 - 26 * np.cos((rows - 320) / 210)), 40)
    joint = 322 + 5 * np.cos((columns - 256) / 42)

    def bone(centre: Array | float, half: Array, inside: Array) -> Array:
        """A tube seen from the side: dense at its walls."""
        across = np.abs(columns - centre) / half
        mask = _soft((across - 1) * half, 3) * inside
        wall = np.exp(-(((across - 0.93) * half / 5.5) ** 2))
        body = np.sqrt(np.clip(1 - across**2, 0, 1))
        return mask * (0.24 * body + 0.17 * wall)

    flare = 1 / (1 + np.exp(-(rows - 225) / 24))
    femur_half = 46 + 62 * flare - 14 * _soft(-(rows - joint + 20), 30)
    above = _soft(rows - (joint - 9), 3) * _soft(-(rows - joint + 36) - 400, 1)
    notch = _soft(((columns - 256) / 21) ** 2 + ((rows - 318) / 44) ** 2 - 1, 0.5)
    tibia_half = 44 + 62 / (1 + np.exp((rows - 400) / 22))
    below = _soft(-(rows - (joint + 9)), 3)
    trabeculae = 1 + 0.07 * _noise(_KNEE, 1.6, rng) + 0.05 * _noise(_KNEE, 5, rng)
    image = 0.2 * leg + 0.03 * leg * _noise(_KNEE, 16, rng)
    image += bone(middle, femur_half, above) * (1 - 0.45 * notch) * trabeculae
    image += bone(middle, tibia_half, below) * trabeculae
    fibula = _soft(-(rows - 392), 8)
    image += (
        0.55
        * bone(middle + 96 + (rows - 392) * 0.03, 15 + 7 * np.exp(-(((rows - 404) / 26) ** 2)), fibula)
        * trabeculae
    )
    patella = _soft((((columns - middle) / 47) ** 2 + ((rows - 262) / 52) ** 2 - 1) * 24, 6)
    image += 0.09 * patella * trabeculae
    plateau = np.exp(-(((rows - joint - 13) / 4.5) ** 2)) + 0.8 * np.exp(-(((rows - joint + 13) / 4.5) ** 2))
    image += 0.07 * plateau * _soft(np.abs(columns - middle) - 98, 10)
    image = gaussian_filter(image, 1.0) + 0.012 * _noise(_KNEE, 0.7, rng) + 0.06
    return np.clip(image * 1.45, 0, 1.1).astype(np.float32)
