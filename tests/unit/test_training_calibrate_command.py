"""`medfake-train calibrate`: a site's own clean images, scored by a tiny bundle, set the thresholds of a new one."""

import argparse
import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from medfake_pacs import cli
from medfake_pacs.classifier import load_bundle
from medfake_pacs.classifier.calibration import LOSSLESS, LOSSY, Side
from medfake_pacs.classifier.card import Card, parse_card
from tests import material
from tests.support import need_data
from tests.unit.classifier_support import make_bundle, make_card
from training.calibration.images import Gathered, Group, SiteImage
from training.calibration.site import Change, rate_interval, recalibrated
from training.calibration.site_bundle import site_version
from training.calibration.site_text import change_lines, gathered_lines
from training.commands import calibrate as calibrate_command

KNEES = 24
PREPROCESSING = {
    "percentiles": [0.5, 99.5],
    "channels": [
        {"kind": "window", "low": 0.0, "high": 255.0},
        {"kind": "highpass", "size": 3, "scale": 2.0, "clip": 4.0},
    ],
}


def dicom(pixels: np.ndarray, patient: str, **more: Any) -> Dataset:
    """A radiograph as DICOM, uncompressed."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.PatientID = "DX", patient
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(dataset, name, value)
    return dataset


@pytest.fixture(scope="module")
def knees() -> list[np.ndarray]:
    files = sorted(need_data("xray_knee").rglob("*.png"))[:KNEES]
    return [np.asarray(Image.open(path).convert("L"))[:160, :160] for path in files]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    base = make_card("", 96, 32, 32)
    folder = make_bundle(
        tmp_path / "models" / "knee-xr",
        cell_px=32,
        name="knee-xr",
        version="0.2.0",
        modality="DX",
        preprocessing=PREPROCESSING,
        pooling={"top_k_positions": 3, "contiguous_k": 1},
        domain=base["domain"] | {"thumbnail_range": None},
    )
    (folder / "README.md").write_text("# A model\n")
    return folder


@pytest.fixture
def reals(tmp_path: Path, knees: list[np.ndarray]) -> Path:
    """Clean images as a site would have them, and what doesn't belong there."""
    folder = tmp_path / "reals"
    (folder / "pictures").mkdir(parents=True)
    for number, pixels in enumerate(knees[:12]):
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")
    # Of one patient two images: only one of them counts.
    patients = ["DOE^JANE", *(f"P{number}" for number in range(12))]
    studies = [dicom(pixels, patient) for pixels, patient in zip(knees[12:] + knees[12:13], patients, strict=True)]
    studies[-1].PatientID, studies[-1].PixelData = "DOE^JANE", np.flipud(knees[12]).tobytes()
    material.save(studies, folder / "dicom")
    material.save([dicom(knees[0].T.copy(), "S", SyntheticData="YES")], folder / "synthetic")
    material.save([dicom(knees[1].T.copy(), "U", Modality="US")], folder / "ultrasound")
    shutil.copy(folder / "pictures" / "0.png", folder / "pictures" / "again.png")
    Image.fromarray(knees[0][:40, :40]).save(folder / "pictures" / "small.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def calibrate(bundle: Path, reals: Path, output: Path, *more: str) -> int:
    parser = argparse.ArgumentParser()
    calibrate_command.add(parser.add_subparsers())
    options = ["calibrate", "--bundle", str(bundle), "--reals", str(reals), "--output", str(output), *more]
    options += ["--device", "torch-cpu"]
    arguments = parser.parse_args(options)
    return int(arguments.run(arguments))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_site_gets_a_new_bundle_with_its_own_thresholds(
    bundle: Path, reals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, output = digests(bundle), tmp_path / "site" / "knee-xr"
    assert calibrate(bundle, reals, output, "--alpha", "0.05", "--by", "Medical Physics", "--note", "both rooms") == 0
    printed = capsys.readouterr().out
    assert digests(bundle) == before
    assert "30 files: 25 clean images of 24 patients count, 0 of them compressed with loss" in printed
    for reason in ("declared synthetic", "Modality US", "the same pixels as another image", "small.png", "notes.txt"):
        assert reason in printed
    assert "warning: 1 files are declared synthetic" in printed
    new, old = load_bundle(output), load_bundle(bundle)
    real = new.card.strata[LOSSLESS].image.real
    assert (real.method, real.count, real.patients, real.alpha) == ("rank", 24, 24, 0.05)
    assert new.card.version.startswith("0.2.0+site.20")
    assert new.model_sha256 == old.model_sha256
    assert new.calibration_sha256 != old.calibration_sha256
    # The fakes' side and the other kind of image stay as they were.
    old_to, old_from = old.card.bounds()[False, False]
    assert new.card.bounds()[False, False] == (real.threshold, pytest.approx(old_from))
    assert new.card.bounds()[True, False] == pytest.approx((old_to, old_from))
    assert calibrate(bundle, reals, output, "--alpha", "0.05") == 2
    assert "never changed in place" in capsys.readouterr().err
    node = tmp_path / "node.toml"
    node.write_text(f'[scoring]\nmodels_dir = "{output.parent}"\n')
    assert cli.main(["models", "verify", "--config", str(node)]) == 0


def test_the_new_card_says_what_its_thresholds_rest_on_and_names_no_patient(
    bundle: Path, reals: Path, tmp_path: Path
) -> None:
    output = tmp_path / "new"
    assert calibrate(bundle, reals, output, "--alpha", "0.05", "--by", "Medical Physics", "--note", "both rooms") == 0
    text = (output / "card.json").read_text()
    about = json.loads(text)["recalibration"]
    assert (about["made_by"], about["note"], about["images"], about["groups"]) == (
        "Medical Physics",
        "both rooms",
        25,
        24,
    )
    assert about["from"]["version"] == "0.2.0"
    assert about["from"]["calibration_sha256"] == load_bundle(bundle).calibration_sha256
    assert about["left_out"]["declared synthetic in the header"] == 1
    kept = (output / "calibration-images.txt").read_text()
    assert about["images_sha256"] == hashlib.sha256(kept.encode()).hexdigest()
    assert len(set(kept.split())) == 25
    assert not any(word in text + kept for word in ("DOE", "P3", "pictures", "small.png", str(reals)))
    assert "Recalibrated" in (output / "README.md").read_text()


def test_too_few_images_give_no_bundle_and_say_how_many_it_takes(
    bundle: Path, reals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(bundle, reals, tmp_path / "new") == 1
    printed = capsys.readouterr()
    assert "24 patients; a false-alarm rate of 1.00% needs 99, and 24 support 4.00%" in printed.out
    assert "1.0% needs 99, 0.5% needs 199, 0.1% needs 999" in printed.out
    assert not (tmp_path / "new").exists()
    assert calibrate(bundle, tmp_path / "nowhere", tmp_path / "new") == 2


def test_jpeg_images_set_the_lossy_thresholds_alone(bundle: Path, knees: list[np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "jpeg").mkdir()
    for number, pixels in enumerate(knees):
        Image.fromarray(pixels).save(tmp_path / "jpeg" / f"{number}.jpg", quality=90)
    assert calibrate(bundle, tmp_path / "jpeg", tmp_path / "new", "--alpha", "0.05") == 0
    strata = load_bundle(tmp_path / "new").card.strata
    assert strata[LOSSY].image.real.method == "rank"
    assert strata[LOSSLESS].image.real.method == "given"


def site(patients: int, slices: int, *, lossy: bool = False, seed: int = 0) -> list[SiteImage]:
    rng = np.random.default_rng(seed)
    return [
        SiteImage(
            group=f"p{patient}", series=f"s{patient}", order=(float(at),), lossy=lossy,
            score=float(rng.normal()), sha256=f"{seed}/{patient}/{at}",
        )
        for patient in range(patients)
        for at in range(slices)
    ]  # fmt: skip


def ct_card() -> Card:
    return parse_card(json.dumps(make_card("0" * 64, 96, 32, 32)))


def test_a_hundred_patients_series_set_the_series_threshold_by_rank() -> None:
    strata, changes = recalibrated(ct_card(), site(100, 20), 0.01)
    series = strata[LOSSLESS].series
    assert series is not None
    assert (series.real.method, series.real.count) == ("rank", 100)
    assert strata[LOSSLESS].image.real.count == 100
    assert [change.unit for change in changes if change.after] == ["image", "series"]
    # The highest of a hundred patients' best runs, so that one in 101 further ones is above it.
    fresh = recalibrated(ct_card(), site(100, 20, seed=1), 0.01)[1]
    runs = [score for change in fresh if change.unit == "series" for score in change.scores]
    assert np.mean([run > series.real.threshold for run in runs]) <= 0.05


def test_many_slices_of_few_patients_are_not_many_images() -> None:
    strata, changes = recalibrated(ct_card(), site(20, 200), 0.01)
    assert not any(change.after for change in changes)
    assert "20 patients" in changes[0].why
    assert strata[LOSSLESS].image.real.method == "given"


def test_without_enough_series_the_series_threshold_is_extrapolated_and_no_lower_than_an_images() -> None:
    images = [*site(99, 1), *site(5, 30, seed=2)]
    strata, changes = recalibrated(ct_card(), images, 0.01)
    series = strata[LOSSLESS].series
    assert series is not None
    assert series.real.method == "normal"
    assert series.real.threshold >= strata[LOSSLESS].image.real.threshold
    assert "extrapolated" in next(change.why for change in changes if change.unit == "series" and change.after)


def test_a_kind_of_image_whose_fakes_the_card_has_not_seen_stays_without_thresholds() -> None:
    card = json.loads(json.dumps(make_card("0" * 64, 96, 32, 32)))
    scores = [number / 10 for number in range(99)]
    given = {"threshold": 9.8, "alpha": 0.01, "method": "rank", "count": 99, "patients": 9, "scores": scores}
    fake = given | {"threshold": 0.9, "alpha": 0.1}
    del card["thresholds"]
    card |= {"format": 2, "strata": {"lossless": {"image": {"real": given, "fake": fake}}}}
    strata, changes = recalibrated(parse_card(json.dumps(card)), site(120, 1, lossy=True), 0.01)
    assert LOSSY not in strata
    assert "no fakes of this kind" in changes[2].why


def test_the_interval_of_the_rate_is_that_of_the_rank() -> None:
    strata, _ = recalibrated(ct_card(), site(99, 1), 0.01)
    low, high = rate_interval(strata[LOSSLESS].image.real)
    # The highest of 99: its rate has the distribution Beta(1, 99), with closed quantiles.
    assert (low, high) == pytest.approx((1 - 0.975 ** (1 / 99), 1 - 0.025 ** (1 / 99)))


def test_the_printed_rule_is_the_one_that_is_counted_by() -> None:
    """A score is called fake above the bound of real images and from the fakes' bound on: the higher one decides."""
    before = Side(threshold=1.0, alpha=None, method="given")
    fakes = Side(threshold=3.0, alpha=None, method="given", count=4, scores=(2.0, 2.0, 4.0, 4.0))
    scores = (0.0, 2.0, 2.5, 4.0)
    low, high = (replace(before, threshold=bound) for bound in (0.5, 3.5))
    for after, rule in ((low, "fake from logit 3.000"), (high, "fake above logit 3.500")):
        change = Change(
            kind="lossless", unit="image", scores=scores, all_scores=scores, before=before, after=after, fakes=fakes
        )
        printed = list(change_lines([change], "patient"))
        assert "fake from logit 3.000 (the fakes' bound; that of real images is 1.000): 1 of 4" in printed[1]
        assert rule in printed[2]
        assert "of the card's 4 fakes 50.0% were called fake before, 50.0% are now" in printed[-1]


def test_many_pictures_of_one_folder_are_warned_of() -> None:
    def lines(count: int, group: Group, series: str = "") -> str:
        images = [
            SiteImage(
                group=f"/clean/scan/{number}.png",
                series=series,
                order=(0.0,),
                lossy=False,
                score=0.0,
                sha256=f"{number}",
            )
            for number in range(count)
        ]
        return "\n".join(gathered_lines(Gathered(images=images, files=count), Path("/clean"), group))

    assert "warning: 120 pictures (PNG, JPEG) of scan count as a patient each" in lines(120, "patient")
    assert "warning" in lines(120, "study")
    assert "warning" not in lines(120, "image")
    assert "warning" not in lines(4, "patient")
    assert "warning" not in lines(120, "patient", series="1.2.3")


def test_versions_name_the_day_and_the_second_of_a_day() -> None:
    day = datetime(2026, 11, 24, tzinfo=UTC)
    assert site_version("0.2.0", day) == "0.2.0+site.20261124"
    assert site_version("0.2.0+site.20250101", day) == "0.2.0+site.20261124"
    assert site_version("0.2.0+site.20261124", day) == "0.2.0+site.20261124.2"
    assert site_version("0.2.0+site.20261124.2", day) == "0.2.0+site.20261124.3"
