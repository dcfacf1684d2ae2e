"""Studies made of real files, with the verdicts on them, for the tests of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.data import get_charset_files, get_testdata_file

from medfake_pacs.entities import (
    FrameScore,
    ImageAttributes,
    ImageFinding,
    ModelIdentity,
    Region,
    Report,
    Score,
    SeriesVerdict,
    Verdict,
    VerdictLabel,
)
from medfake_pacs.report import ReportSettings, build_report
from medfake_pacs.verdict import AssessedImage, Limits, Profile, assess_series
from tests.support import need_data

NOW = datetime(2026, 5, 4, 12, 34, 56, 789000, tzinfo=UTC)
CHEST_CT = ModelIdentity(
    name="lung-ct", version="1.2", sha256="c7" * 32, parameters={"real_below": "0.20", "fake_above": "0.85"}
)
KNEE_XR = ModelIdentity(
    name="knee-xr", version="0.9", sha256="4e" * 32, parameters={"real_below": "0.25", "fake_above": "0.90"}
)
PROBABILITIES = {VerdictLabel.REAL: 0.04, VerdictLabel.FAKE: 0.97, VerdictLabel.INDETERMINATE: 0.5}
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber",
    "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName", "InstanceNumber", "SeriesNumber",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """A study: its received files and the verdict on it."""

    verdict: Verdict
    sources: Mapping[str, Path]

    def report(self, folder: Path, **changes: Any) -> Report:
        """Build the report; ``changes`` replace arguments of ``build_report``."""
        arguments: dict[str, Any] = {"settings": ReportSettings(), "now": NOW, "predecessor": None}
        arguments |= {"verdict": self.verdict, "sources": self.sources, "output_dir": folder} | changes
        return build_report(**arguments)


def header(path: Path | str) -> Dataset:
    """Read a file without its pixels."""
    return dcmread(path, stop_before_pixels=True)


def save(dataset: Dataset, folder: Path, **changes: Any) -> Path:
    """Write a copy of ``dataset``, changed, as a received file."""
    copy = dcmread(dataset.filename, stop_before_pixels=True)
    for keyword, value in changes.items():
        setattr(copy, keyword, value)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{copy.SOPInstanceUID}-{len(list(folder.iterdir()))}.dcm"
    copy.save_as(path)
    return path


def finding(path: Path, label: VerdictLabel, **changes: Any) -> ImageFinding:
    """Return the finding on a file; ``changes`` replace its fields."""
    dataset = header(path)
    attributes = ImageAttributes(
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        modality=dataset.get("Modality", ""),
        series_description=dataset.get("SeriesDescription", ""),
        instance_number=dataset.get("InstanceNumber"),
        number_of_frames=int(dataset.get("NumberOfFrames", None) or 1),
    )
    probability = PROBABILITIES.get(label)
    score = None if probability is None else 8 * probability - 4
    made = ImageFinding(attributes=attributes, instance_id=1, label=label, probability=probability, score=score)
    return replace(made, **changes)


def series(findings: Sequence[ImageFinding], model: ModelIdentity | None, **changes: Any) -> SeriesVerdict:
    """Return the verdict on a series: that of its worst image."""
    order = (VerdictLabel.NOT_ASSESSED, VerdictLabel.REAL, VerdictLabel.INDETERMINATE, VerdictLabel.FAKE)
    label = max((each.label for each in findings), key=order.index)
    made = SeriesVerdict(
        series_instance_uid=findings[0].attributes.series_instance_uid,
        modality=findings[0].attributes.modality,
        label=label,
        probability=max((each.probability for each in findings if each.probability is not None), default=None),
        model=model,
        route=model.name.replace("-", " ") if model else "",
        images_total=len(findings),
        images_scored=sum(each.label != VerdictLabel.NOT_ASSESSED for each in findings),
        reason="",
        findings=tuple(findings),
    )
    return replace(made, **changes)


def study(verdicts: Sequence[SeriesVerdict], **changes: Any) -> Verdict:
    """Return the verdict on a study: that of its worst series."""
    order = (VerdictLabel.NOT_ASSESSED, VerdictLabel.REAL, VerdictLabel.INDETERMINATE, VerdictLabel.FAKE)
    made = Verdict(
        study_instance_uid=verdicts[0].findings[0].attributes.study_instance_uid,
        revision=1,
        label=max((each.label for each in verdicts), key=order.index),
        probability=max((each.probability for each in verdicts if each.probability is not None), default=None),
        reason="; ".join(each.reason for each in verdicts if each.reason),
        images_total=sum(each.images_total for each in verdicts),
        images_scored=sum(each.images_scored for each in verdicts),
        series=tuple(verdicts),
    )
    return replace(made, **changes)


def case(paths: Sequence[Path], verdict: Verdict) -> Case:
    """Return the case of these files, in this order."""
    return Case(verdict=verdict, sources={str(header(path).SOPInstanceUID): path for path in paths})


def one_image(path: Path, label: VerdictLabel = VerdictLabel.REAL, **changes: Any) -> Case:
    """Return the study of one image, assessed by the knee model."""
    return case([path], study([series([finding(path, label, **changes)], KNEE_XR)]))


def small_ct() -> Path:
    """Return pydicom's little CT slice."""
    return Path(get_testdata_file("CT_small.dcm"))


def two_frames() -> Path:
    """Return pydicom's secondary capture of two frames."""
    return Path(get_testdata_file("SC_rgb_rle_2frame.dcm"))


def xray() -> Case:
    """A radiograph that is real."""
    return one_image(need_data("dicom_conformance") / "pydicom-data" / "RG1_J2KI.dcm")


def ct_series() -> Case:
    """Four slices of a chest CT; in one of them something was put in."""
    folder = need_data("ct") / "lung-pet-ct-dx" / "Lung_Dx-A0001"
    paths = sorted(folder.glob("kernelB_1-*.dcm"))[:4]
    nodule = Region(x=301, y=210, width=40, height=36, score=4.5)
    findings = [
        finding(path, VerdictLabel.FAKE, regions=((1, nodule),), frame_numbers=(1,))
        if number == 3
        else finding(path, VerdictLabel.REAL)
        for number, path in enumerate(paths, start=1)
    ]
    return case(paths, study([series(findings, CHEST_CT)]))


def mixed(folder: Path) -> Case:
    """CT, radiograph, secondary capture of two frames and ultrasound in one study, two models, all findings."""
    ct = header(small_ct())
    uid = ct.StudyInstanceUID
    slices = [save(ct, folder, SOPInstanceUID=f"{ct.SOPInstanceUID}.{n}", InstanceNumber=n) for n in (1, 2, 3)]
    radiograph = save(header(get_testdata_file("693_J2KI.dcm")), folder, StudyInstanceUID=uid, Modality="CR")
    capture = save(header(two_frames()), folder, StudyInstanceUID=uid, SeriesNumber=3)
    ultrasound = save(header(get_testdata_file("examples_palette.dcm")), folder, StudyInstanceUID=uid, SeriesNumber=4)
    between = "probability 0.500 lies between 0.200 and 0.850"
    conflict = "two objects with this SOP Instance UID have different pixels"
    ct_findings = [
        finding(slices[0], VerdictLabel.INDETERMINATE, reason=between, frame_numbers=(1,)),
        finding(slices[1], VerdictLabel.REAL, conflict=conflict),
        finding(slices[1], VerdictLabel.INDETERMINATE, conflict=conflict, reason=conflict),
        finding(slices[2], VerdictLabel.NOT_ASSESSED, reason="truncated pixel data: 12 of 32768 bytes of a frame"),
    ]
    frame_2 = ((2, Region(x=0, y=3, width=10, height=8, score=2.25)),)
    verdicts = [
        series(ct_findings, CHEST_CT, reason=between),
        series([finding(radiograph, VerdictLabel.REAL, declared_synthetic=True)], KNEE_XR),
        series([finding(capture, VerdictLabel.FAKE, regions=frame_2, frame_numbers=(2,))], KNEE_XR),
        series(
            [finding(ultrasound, VerdictLabel.NOT_ASSESSED, reason="no route matches this image")],
            None,
            reason="no route matches this image",
        ),
    ]
    return case([*slices, radiograph, capture, ultrasound], study(verdicts))


def partly_undecodable(folder: Path) -> Case:
    """Three slices of which two can't be decoded, for different reasons."""
    ct = header(small_ct())
    slices = [save(ct, folder, SOPInstanceUID=f"{ct.SOPInstanceUID}.{n}", InstanceNumber=n) for n in (1, 2, 3)]
    reasons = ("truncated codestream: it has no end marker", "Bits Allocated 24 is not supported for PixelData")
    findings = [
        finding(slices[0], VerdictLabel.REAL),
        *(finding(p, VerdictLabel.NOT_ASSESSED, reason=r) for p, r in zip(slices[1:], reasons, strict=True)),
    ]
    return case(slices, study([series(findings, CHEST_CT, reason=f"2 of 3 images not assessed: {'; '.join(reasons)}")]))


def not_calibrated(folder: Path) -> Case:
    """Three slices, the last compressed with loss, by a model that is calibrated for lossless images only."""
    ct = header(small_ct())
    uids = {n: f"{ct.SOPInstanceUID}.{n}" for n in (1, 2, 3)}
    slices = [save(ct, folder, SOPInstanceUID=uid, InstanceNumber=n) for n, uid in uids.items() if n < 3]
    slices.append(save(ct, folder, SOPInstanceUID=uids[3], InstanceNumber=3, LossyImageCompression="01"))
    limits = {(False, False): Limits(real_to=1.7, fake_from=-1.4)}
    profile = Profile(identity=CHEST_CT, contiguous=1, slope=1.0, intercept=0.0, limits=limits, modality="CT")
    images = []
    for number, path in enumerate(slices):
        attributes = finding(path, VerdictLabel.REAL).attributes
        frame = FrameScore(frame_number=1, score=-3.0)
        images.append(
            AssessedImage(
                instance_id=number,
                attributes=replace(attributes, lossy=header(path).get("LossyImageCompression") == "01"),
                pixel_sha256="",
                score=Score(pixel_sha256="", model_sha256=CHEST_CT.sha256, frames=(frame,), engine="e"),
            )
        )
    return case(slices, study([assess_series(images, profile, route="CT")]))


def not_assessed() -> Case:
    """A study that no route takes."""
    reason = "no route matches this image"
    found = finding(two_frames(), VerdictLabel.NOT_ASSESSED, reason=reason)
    return case([two_frames()], study([series([found], None, reason=reason)]))


def without_type_2(folder: Path) -> Case:
    """A slice that lacks every type 2 attribute which a report takes over, and Pixel Spacing."""
    ct = dcmread(small_ct(), stop_before_pixels=True)
    for keyword in (*TYPE_2, "PixelSpacing", "SeriesDescription", "StudyDescription", "SpecificCharacterSet"):
        if keyword in ct:
            delattr(ct, keyword)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bare.dcm"
    ct.save_as(path)
    return one_image(path, VerdictLabel.FAKE)


def charset_file(name: str) -> Path:
    """Return one of pydicom's files of a character set, such as ``chrH31``."""
    return Path(get_charset_files(f"{name}.dcm")[0])


def named_in(name: str) -> Case:
    """Return the study of one of pydicom's files of a character set."""
    return one_image(charset_file(name), VerdictLabel.INDETERMINATE, reason="between the thresholds")
