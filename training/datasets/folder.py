"""A folder with ``real/`` and ``fake/`` in it: DICOM, PNG and JPEG files at any depth.

The patient is the DICOM Patient ID, else the first folder below ``real/`` or ``fake/``; an image with neither is its
own group. ``real/A/`` and ``fake/A/`` are one patient.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.raster import is_raster
from training.datasets.files import UNREADABLE, candidates, folders_under, outline
from training.datasets.images import named_patient, read_header
from training.datasets.record import DatasetError, Found, LeftOut, Record

_LABELS = {"real": "real", "reals": "real", "fake": "fake", "fakes": "fake"}


def find(root: Path) -> Found:
    """The images of ``root/real`` and ``root/fake``; names of the two folders in any case, one may be absent.

    Raises: DatasetError where both are absent or empty.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}")
    halves = [(_LABELS[each.name.lower()], each) for each in sorted(root.iterdir()) if each.name.lower() in _LABELS]
    records: list[Record] = []
    left_out: list[LeftOut] = []
    for label, half in halves:
        for folder in folders_under(half):
            for path in candidates(folder):
                try:
                    records += _records(root, half, path, label)
                except (PixelError, OSError) as error:
                    left_out.append(LeftOut(path=path, reason=UNREADABLE, detail=str(error)))
    if not records:
        raise DatasetError(
            f"{root}: no image; expected real/ and fake/ with DICOM, PNG or JPEG files; found {outline(root)}"
            f"{f'; {len(left_out)} files can not be read, the first: {left_out[0]}' if left_out else ''}"
        )
    records = _with_folders_patient(records)
    missing = {"real", "fake"} - {record.label for record in records}
    return Found(
        records=tuple(records), left_out=tuple(left_out), notes=tuple(f"{root}: no {each} image" for each in missing)
    )


def _records(root: Path, half: Path, path: Path, label: str) -> Iterator[Record]:
    name = path.relative_to(root).as_posix()
    inside = path.relative_to(half).parts
    group = f"folder-{inside[0]}" if len(inside) > 1 else f"image-{name}"
    generator = "unknown" if label == "fake" else ""
    if is_raster(path):
        yield Record(
            reader="folder", path=path, name=name, source="folder", patient=group, label=label, generator=generator
        )
        return
    header = read_header(path)
    patient = named_patient(header)
    for frame in range(1, header.frames + 1):
        yield Record(
            reader="folder",
            path=path,
            frame=frame,
            name=f"{name}#{frame}" if header.frames > 1 else name,
            source="folder",
            patient=pseudonym(patient) if patient else group,
            label=label,
            generator=generator,
            series=header.series,
            position=header.position_mm if header.position_mm is not None else float(header.instance_number or frame),
            axial=header.axial,
        )


def _with_folders_patient(records: list[Record]) -> list[Record]:
    """Images without a Patient ID join the one patient whose DICOM files lie in a folder of their folder's name."""
    patients: dict[str, set[str]] = {}
    for record in records:
        if not record.patient.startswith(("folder-", "image-")):
            patients.setdefault(f"folder-{_top(record)}", set()).add(record.patient)
    return [
        replace(record, patient=next(iter(patients[record.patient])))
        if len(patients.get(record.patient, ())) == 1
        else record
        for record in records
    ]


def _top(record: Record) -> str:
    parts = record.name.split("/")
    return parts[1] if len(parts) > 2 else ""


def pseudonym(patient_id: str) -> str:
    """A name for a Patient ID that isn't shown in a manifest; who knows the ID can compute it."""
    return "patient-" + hashlib.sha256(patient_id.encode()).hexdigest()[:16]
