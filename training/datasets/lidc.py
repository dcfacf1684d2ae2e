"""LIDC-IDRI as the NBIA Data Retriever lays it out (The Cancer Imaging Archive, CC BY 3.0).

Any depth of folders and any of its naming schemes, e.g.
``manifest-1600709154662/LIDC-IDRI/LIDC-IDRI-0003/01-01-2000-NA-NA-94866/3000611.000000-NA-03264/1-001.dcm``: what
belongs together is told by the headers. Radiographs (CR, DX) and annotations are left out.
"""

from pathlib import Path

from training.datasets.files import candidates, folders_under, headers, outline
from training.datasets.images import Header, named_patient
from training.datasets.record import DatasetError, Found, LeftOut, Record

SOURCE = "lidc-idri"
_LAYOUT = "LIDC-IDRI/LIDC-IDRI-NNNN/STUDY/SERIES/*.dcm, at any depth"


def find(root: Path) -> Found:
    """The CT slices of every series under ``root``, in HU, in the order of their places.

    Raises: DatasetError where there is no CT slice.
    """
    records: list[Record] = []
    left_out: list[LeftOut] = []
    for folder in folders_under(root):
        read, unreadable = headers(candidates(folder))
        left_out += unreadable
        for path, header in read:
            if header.modality == "CT":
                records.append(slice_record("lidc-idri", SOURCE, root, path, header))
            else:
                reason = f"not CT: modality {header.modality or 'unknown'}"
                left_out.append(LeftOut(path=path, reason=reason))
    if not records:
        raise DatasetError(
            f"{root}: no CT slice; expected {_LAYOUT}; found {outline(root)}. Name the download's folder"
        )
    return Found(records=tuple(records), left_out=tuple(left_out))


def slice_record(reader: str, source: str, root: Path, path: Path, header: Header) -> Record:
    """The record of one CT slice; its place is along the body in mm, else its instance number."""
    return Record(
        reader=reader,
        path=path,
        name=path.relative_to(root).as_posix(),
        source=source,
        patient=named_patient(header),
        series=header.series,
        position=header.position_mm if header.position_mm is not None else float(header.instance_number or 0),
        axial=header.axial,
    )
