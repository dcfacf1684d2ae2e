"""Chen's real knees (Mendeley Data 56rmx5bjcr) with Prezja's synthetic ones (Mendeley Data fyybnjkw7v).

Real: ``KneeXrayData/ClsKLData/kneeKL224/{train,val,test,auto_test}/{0..4}/9003175R.png``; the digits are the patient,
both knees are one group; ``kneeKL299`` holds the same knees and is used only where ``kneeKL224`` is absent.
Synthetic: ``KL01_160K/`` and ``KL234_160K/`` with PNG or JPEG files that name no patient.

The two differ in size, contrast and file format, so every image of either goes one way: decode, grey, resize to
192 x 192, the window from the 1st to the 99th percentile as 0 to 255 in whole numbers.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from training.datasets.files import RASTERS, candidates, folders_under, outline
from training.datasets.images import open_image
from training.datasets.record import DatasetError, Found, LeftOut, Opened, Record
from training.datasets.sample import Array

SIDE_PX = 192
_WINDOW_PERCENT = (1.0, 99.0)
_REAL_FOLDERS = ("kneekl224", "kneekl299")
_FAKE_FOLDERS = ("kl01_160k", "kl234_160k")
_PATIENT = re.compile(r"(\d+)[LR]?(?:_.*)?", re.IGNORECASE)
_LAYOUT = "kneeKL224/{train,val,test,auto_test}/{0..4}/9003175R.png and KL01_160K/*.png, KL234_160K/*.png"


def find(root: Path) -> Found:
    """The real and the synthetic knees under ``root``; either may be absent, and a note says so.

    Raises: DatasetError where both are.
    """
    places = {folder.name.lower(): folder for folder in folders_under(root)}
    real = next((places[name] for name in _REAL_FOLDERS if name in places), None)
    fakes = [places[name] for name in _FAKE_FOLDERS if name in places]
    if real is None and not fakes:
        raise DatasetError(f"{root}: no knees; expected {_LAYOUT}; found {outline(root)}. Unpack both downloads there")
    records, left_out, notes = [], [], []
    if real is None:
        notes.append(f"{root}: no real knees (kneeKL224 or kneeKL299)")
    else:
        found, without_patient = _real(root, real)
        records += found
        left_out += without_patient
        if all(name in places for name in _REAL_FOLDERS):
            again = places[_REAL_FOLDERS[1]]
            count = sum(1 for _ in _rasters(again))
            left_out.append(LeftOut(path=again, reason="the knees of kneeKL224 in another size", images=count))
    if not fakes:
        notes.append(f"{root}: no synthetic knees (KL01_160K, KL234_160K)")
    records += [_synthetic(root, path) for folder in fakes for path in _rasters(folder)]
    return Found(records=tuple(records), left_out=tuple(left_out), notes=tuple(notes))


def _rasters(folder: Path) -> Iterator[Path]:
    for below in folders_under(folder):
        yield from candidates(below, RASTERS)


def _real(root: Path, folder: Path) -> tuple[list[Record], list[LeftOut]]:
    records, left_out = [], []
    for path in _rasters(folder):
        found = _PATIENT.fullmatch(path.stem)
        if found is None:
            left_out.append(LeftOut(path=path, reason="the name has no patient number, such as 9003175R.png"))
            continue
        records.append(
            Record(
                reader="knee-chen-prezja",
                path=path,
                name=path.relative_to(root).as_posix(),
                source="chen-2018",
                patient=found[1],
            )
        )
    return records, left_out


def _synthetic(root: Path, path: Path) -> Record:
    name = path.relative_to(root).as_posix()
    return Record(
        reader="knee-chen-prezja",
        path=path,
        name=name,
        source="prezja-2022",
        patient=f"synthetic-{path.parent.name}-{path.name}",
        label="fake",
        generator="stylegan-prezja",
    )


def open_knee(record: Record) -> Opened:
    """A knee the one way for both classes: (192, 192) float32, whole numbers from 0 to 255."""
    opened = open_image(record.path, record.frame)
    return replace(opened, values=evened(opened.values))


def evened(values: Array) -> Array:
    """Grey values (H, W) resized to 192 x 192 (bicubic, antialiased) and windowed to whole numbers in 0..255."""
    picture = Image.fromarray(values.astype(np.float32)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    grey = np.asarray(picture)
    low, high = np.percentile(grey, _WINDOW_PERCENT)
    return np.rint(np.clip((grey - low) * (255 / max(high - low, 1e-6)), 0, 255)).astype(np.float32)
