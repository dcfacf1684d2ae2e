"""The CT-GAN set (Mirsky et al. 2019; UCI 520, doi 10.24432/C5J318, CC BY 4.0): lung scans, some of them tampered with.

Kaggle layout: ``labels_exp1.csv``, ``labels_exp2.csv``, ``CT_Scans/EXP1_blind/<uuid>/<n>.dcm``, ``.../EXP2_open/...``;
UCI layout: ``Tampered Scans/labels_exp1.csv``, ``Tampered Scans/Experiment 1 - Blind/<uuid>/<n>.dcm``; in any case.

A slice is fake within 5 mm of a tampered place: the attack repaints a cube of 32 mm, its inner 20 mm surely. Slices
farther off but within 30 of it are neither (its touch-up reaches 29 slices at 2.5 mm). Only what is beyond counts as
real in a tampered scan, whatever its rows of real findings (TB, TM) say; a scan without tampered place is real.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.datasets.ctgan_labels import Place, read_places
from training.datasets.ctgan_slices import Scan, settle
from training.datasets.files import candidates, folders_under, headers, outline
from training.datasets.images import Header, named_patient
from training.datasets.record import DatasetError, Found, LeftOut, Record

_CERTAIN_MM = 5.0
_UNCLEAR_SLICES = 30
_RADIUS_MM = 10.0
_LABELS = re.compile(r"labels[\s_-]*exp[\s_-]*([12])\.csv", re.IGNORECASE)
_EXPERIMENT = re.compile(r"exp(?:eriment)?[\s_-]*([12])(?:\D.*)?", re.IGNORECASE)
_LAYOUT = (
    "labels_exp1.csv, labels_exp2.csv and CT_Scans/EXP1_blind/<uuid>/<n>.dcm, "
    "or Tampered Scans/labels_exp1.csv and Tampered Scans/Experiment 1 - Blind/<uuid>/<n>.dcm"
)


def find(root: Path, slice_index: str = "auto") -> Found:
    """The slices of every scan under ``root``; ``slice_index`` is auto, position or file-name.

    Raises: DatasetError where the layout isn't one of the two or the slice numbers can't be understood.
    """
    tables, folders = _layout(root)
    scans: list[Scan] = []
    left_out: list[LeftOut] = []
    for experiment, scan_folder in folders:
        scan, unusable = _scan(experiment, scan_folder, tables.get(experiment))
        left_out += unusable
        if scan is not None:
            scans.append(scan)
    scans, notes = _each_once(scans)
    if not scans:
        raise DatasetError(f"{root}: no scan that can be used; {left_out[0] if left_out else f'expected {_LAYOUT}'}")
    convention, note = settle(scans, slice_index)
    shared = _placeholder(scans)
    records: list[Record] = []
    for scan in scans:
        used, unclear = _slices(root, scan, convention, shared)
        records += used
        left_out += unclear
    absent = {place.scan for places in tables.values() for place in places} - {folder.name for _, folder in folders}
    if absent:
        notes.append(f"{root}: {len(absent)} scans of the tables aren't there, such as {sorted(absent)[0]}")
    return Found(records=tuple(records), left_out=tuple(left_out), notes=tuple(notes + [note] * bool(note)))


def _layout(root: Path) -> tuple[dict[str, tuple[Place, ...]], list[tuple[str, Path]]]:
    """The tables by experiment, and each scan's folder with its experiment."""
    tables: dict[str, tuple[Place, ...]] = {}
    folders: list[tuple[str, Path]] = []
    for folder in folders_under(root):
        for path in folder.glob("*.[cC][sS][vV]"):
            if named := _LABELS.fullmatch(path.name):
                tables[named[1]] = read_places(path)
        if named := _EXPERIMENT.fullmatch(folder.name):
            folders += [(named[1], each) for each in sorted(folder.iterdir()) if each.is_dir()]
    if not tables or not folders:
        what = "labels_exp1.csv or labels_exp2.csv" if not tables else "folder EXP1_blind or Experiment 1 - Blind"
        raise DatasetError(f"{root}: no {what}; expected {_LAYOUT}; found {outline(root)}. Name the folder above both")
    return tables, folders


def _scan(experiment: str, folder: Path, table: Sequence[Place] | None) -> tuple[Scan | None, list[LeftOut]]:
    read, unreadable = headers(candidates(folder))
    places = tuple(place for place in table or () if place.scan == folder.name)

    def without(reason: str) -> tuple[None, list[LeftOut]]:
        return None, [*unreadable, LeftOut(path=folder, reason=reason, images=len(read))]

    if unreadable:
        return without("a slice of the scan can't be read, so that its slices can't be counted")
    if not read:
        return None, [LeftOut(path=folder, reason="a scan without slices", images=0)]
    if not places:
        return without(f"no row of labels_exp{experiment}.csv is about the scan")
    positions = {header.position_mm for _, header in read}
    if None in positions or len(positions) < len(read):
        return without("slices without a place of their own (ImagePositionPatient), so that they can't be counted")
    slices = tuple(sorted(read, key=lambda each: each[1].position_mm or 0.0))
    return Scan(name=folder.name, experiment=experiment, folder=folder, slices=slices, places=places), []


def _each_once(scans: Sequence[Scan]) -> tuple[list[Scan], list[str]]:
    """Scans that are in both experiments with the same files once, with the rows of both tables."""
    kept: dict[tuple[str, str], Scan] = {}
    notes = []
    names = [scan.name for scan in scans]
    for scan in scans:
        key = (scan.name, _content(scan) if names.count(scan.name) > 1 else "")
        if key in kept:
            notes.append(
                f"{scan.folder}: the same files as {kept[key].folder}; used once, with the rows of both tables"
            )
            places = tuple(dict.fromkeys((*kept[key].places, *scan.places)))
            scan = Scan(
                name=scan.name,
                experiment=kept[key].experiment,
                folder=kept[key].folder,
                slices=kept[key].slices,
                places=places,
            )
        kept[key] = scan
    return list(kept.values()), notes


def _content(scan: Scan) -> str:
    digest = hashlib.sha256()
    for path, _ in scan.slices:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _placeholder(scans: Sequence[Scan]) -> str:
    """The patient that all scans claim to be of: de-identification's word, which groups nothing."""
    patients = {named_patient(scan.slices[0][1]) for scan in scans}
    return patients.pop() if len(patients) == 1 and len({scan.name for scan in scans}) > 1 else ""


def _slices(root: Path, scan: Scan, convention: str, shared: str) -> tuple[list[Record], list[LeftOut]]:
    tampered = [
        (at, place)
        for place in scan.places
        if place.tampered and (at := scan.index(place.slice, convention)) is not None
    ]
    near = _CERTAIN_MM / max(scan.spacing_mm, 1e-3)
    records, unclear = [], 0
    for number, (path, header) in enumerate(scan.slices):
        here = [place for at, place in tampered if abs(number - at) <= near]
        if not here and any(abs(number - at) <= _UNCLEAR_SLICES for at, _ in tampered):
            unclear += 1
            continue
        records.append(_record(root, scan, number, (path, header), here, shared))
    reason = f"within {_UNCLEAR_SLICES} slices of a tampered one: neither real nor surely fake"
    return records, [LeftOut(path=scan.folder, reason=reason, images=unclear)] if unclear else []


def _record(
    root: Path, scan: Scan, number: int, file: tuple[Path, Header], here: Sequence[Place], shared: str
) -> Record:
    path, header = file
    patient = named_patient(header)
    pixel_mm = header.spacing_mm[0] if header.spacing_mm else 0.7
    discs = [[place.x, place.y, _RADIUS_MM / pixel_mm] for place in here]
    reading: Mapping[str, str] = {"discs": json.dumps(discs)} if discs else {}
    return Record(
        reader="ct-gan",
        path=path,
        name=path.relative_to(root).as_posix(),
        source="ct-gan",
        patient=patient if patient and patient != shared else f"scan-{scan.name}",
        label="fake" if here else "real",
        generator="ct-gan" if here else "",
        series=f"exp{scan.experiment}-{scan.name}",
        position=float(number),
        axial=header.axial,
        reading=reading,
    )
