"""Studies to send, made from real images that Python packages ship; every UID is new, pixels differ per image."""

import copy
import warnings
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association

CT_SMALL = "CT_small.dcm"
CT_512 = "693_UNCR.dcm"
RADIOGRAPH = "RG3_UNCR.dcm"


def shipped(name: str) -> Dataset:
    """Return an image of pydicom's or pydicom-data's, uncompressed."""
    path = get_testdata_file(name, download=False)
    assert path, f"{name} is not there; install pydicom-data"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(str(path))
        dataset.PixelData  # noqa: B018 - read now, while warnings are ignored
    return dataset


def ct_series(
    count: int, *, source: str = CT_SMALL, study_uid: str = "", series_uid: str = "", seed: int = 0, start: int = 1
) -> list[Dataset]:
    """Return ``count`` slices of one series: the source's pixels with a grey level or so of noise."""
    original = shipped(source)
    study_uid, series_uid = study_uid or generate_uid(), series_uid or generate_uid()
    random = np.random.default_rng(seed)
    pixels = original.pixel_array
    slices = []
    for number in range(start, start + count):
        dataset = copy.deepcopy(original)
        noisy = pixels + random.integers(0, 2, pixels.shape, dtype=pixels.dtype)
        _identify(dataset, study_uid, series_uid, number)
        dataset.PixelData = noisy.astype(pixels.dtype).tobytes()
        dataset.ImagePositionPatient = [0, 0, float(number)]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slices.append(dataset)
    return slices


def radiograph(*, study_uid: str = "") -> Dataset:
    """Return a real radiograph as an object of its own."""
    dataset = shipped(RADIOGRAPH)
    _identify(dataset, study_uid or generate_uid(), generate_uid(), 1)
    return dataset


def _identify(dataset: Dataset, study_uid: str, series_uid: str, number: int) -> None:
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = series_uid
    dataset.SOPInstanceUID = generate_uid()
    dataset.InstanceNumber = number
    dataset.PatientID = "TEST-1"
    dataset.AccessionNumber = "A-1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def with_one_pixel_changed(dataset: Dataset) -> Dataset:
    """Return a copy with the same SOP Instance UID whose first pixel differs by one."""
    changed = copy.deepcopy(dataset)
    pixels = changed.pixel_array.copy()
    pixels.flat[0] += 1
    changed.PixelData = pixels.tobytes()
    return changed


def save(datasets: list[Dataset], folder: Path) -> list[Path]:
    """Write each as a Part 10 file and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, dataset in enumerate(datasets):
        paths.append(folder / f"{number:04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def associate(
    port: int, datasets: list[Dataset], *, calling: str = "PACS1", called: str = "MEDFAKE", timeout_s: float = 30
) -> Association:
    """Return an association on which these can be sent; it may turn out not to be established."""
    ae = AE(ae_title=calling)
    # When the peer dies, pynetdicom notices after its DIMSE timeout only.
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    contexts = {(item.SOPClassUID, item.file_meta.TransferSyntaxUID) for item in datasets}
    for sop_class, syntax in sorted(contexts):
        ae.add_requested_context(sop_class, syntax)
    return ae.associate("127.0.0.1", port, ae_title=called)


def send(
    port: int, datasets: list[Dataset], *, calling: str = "PACS1", called: str = "MEDFAKE", timeout_s: float = 30
) -> list[int | None]:
    """Send by one association and return each one's status; None where no answer came."""
    statuses: list[int | None] = []
    association = associate(port, datasets, calling=calling, called=called, timeout_s=timeout_s)
    for dataset in datasets:
        if not association.is_established:
            statuses.append(None)
            continue
        try:
            answer = association.send_c_store(dataset)
        except (RuntimeError, ValueError):
            statuses.append(None)
            continue
        statuses.append(answer.get("Status"))
    if association.is_established:
        association.release()
    return statuses
