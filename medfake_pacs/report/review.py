"""Build the report of a review: what a person says of a verdict, as a Structured Report that points to the node's.

It doesn't replace the verdict's report, so that it isn't its successor: that one is named by a COMPOSITE content item
(PS3.3 C.18.3) and in the Current Requested Procedure Evidence Sequence, which lists what the content tree refers to and
what is known of the same procedure (PS3.3 C.17.2).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from medfake_pacs.entities import Report, Verdict, VerdictLabel
from medfake_pacs.errors import ReportError
from medfake_pacs.report import content, document, equipment, sanitise, scheme, tree
from medfake_pacs.report.build import COMPREHENSIVE_3D_SR, store
from medfake_pacs.report.content import Item
from medfake_pacs.report.document import DocumentIdentity
from medfake_pacs.report.groups import (
    COMMENT,
    FINDING,
    MEASUREMENT_GROUP,
    TRACKING_IDENTIFIER,
    TRACKING_UID,
)
from medfake_pacs.report.scheme import Concept
from medfake_pacs.report.settings import ReportSettings
from medfake_pacs.report.sources import Reference
from medfake_pacs.report.subject import read_subject
from medfake_pacs.report.uids import derive_uid

SERIES_DESCRIPTION = "Review of image authenticity - research use, not for diagnosis"
PERSON = Concept("121006", "DCM", "Person")
PERSON_NAME = Concept("121008", "DCM", "Person Observer Name")
LOGIN_NAME = Concept("128774", "DCM", "Person Observer's Login Name")
_DISCLAIMER = "A person's opinion on what software said. For research use only, not for diagnosis."
_MAX_NAME = 64
_IMAGE_GROUP = "1501"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What a person said of the verdict in ``reviewed``; ``number`` counts the reviews of the study from 1.

    ``opinion`` is agree, disagree or comment. ``created_at`` is seconds since the epoch, UTC. ``reviewer`` is the name
    that the person has chosen, ``login`` the one that the node knows them by.
    """

    number: int
    reviewer: str
    login: str
    opinion: str
    comment: str
    created_at: float
    verdict: Verdict
    reviewed: Report


def build_review(review: Review, settings: ReportSettings, output_dir: Path) -> Report:
    """Write the report of ``review`` into ``output_dir`` and return where it is; ``revision`` is the review's number.

    Patient and study are taken from the report that was reviewed. The same arguments give the same bytes, so that a
    step that runs again makes the same object.

    Raises:
        ReportError: the reviewed report can't be read, or the opinion is none.
        OSError: the file could not be written.
    """
    if review.opinion not in scheme.OPINIONS:
        raise ReportError(f"no review can say {review.opinion!r}: choose {', '.join(scheme.OPINIONS)}")
    subject = read_subject([review.reviewed.path])
    if subject is None:
        raise ReportError(f"the reviewed report {review.reviewed.sop_instance_uid} can't be read")
    reviewed = _reviewed(review.reviewed)
    now = datetime.fromtimestamp(review.created_at, UTC)
    identity = _identity(review, settings)
    dataset = document.header(identity, subject, settings, now)
    dataset.SeriesDescription = SERIES_DESCRIPTION
    dataset.SeriesNumber = settings.series_number + 1
    dataset.CompletionFlag = "COMPLETE"
    dataset.AuthorObserverSequence = [_author(review.reviewer)]
    dataset.ContributingEquipmentSequence = equipment.contributing(settings, identity.device_uid, {}, now)
    evidence = [*_evidence(reviewed), _reference(review.reviewed, reviewed)]
    study = review.verdict.study_instance_uid
    dataset.CurrentRequestedProcedureEvidenceSequence = document.hierarchical(study, evidence)
    document.finish(dataset, _tree(review, settings), subject)
    return store(dataset, output_dir, study_instance_uid=review.verdict.study_instance_uid, revision=review.number)


def _identity(review: Review, settings: ReportSettings) -> DocumentIdentity:
    root, study, node = settings.uid_root, review.verdict.study_instance_uid, settings.node_ae_title
    said = (
        review.reviewer,
        review.login,
        review.opinion,
        review.comment,
        review.created_at,
        review.reviewed.sop_instance_uid,
    )
    return DocumentIdentity(
        sop_class_uid=COMPREHENSIVE_3D_SR,
        sop_instance_uid=derive_uid(root, "review", COMPREHENSIVE_3D_SR, study, review.number, said, node),
        study_instance_uid=study,
        series_instance_uid=derive_uid(root, "review series", study, node),
        instance_number=review.number,
        device_uid=settings.device_uid or derive_uid(root, "device", node, settings.device_serial_number),
    )


def observer_name(name: str) -> str:
    """Return a person's name as one component of a PN: it may hold none of the characters that PN gives a meaning."""
    plain = name.translate(str.maketrans("^=\\", "   "))
    return " ".join(sanitise.person_name(plain).split())[:_MAX_NAME].strip() or "unknown"


def _author(reviewer: str) -> Dataset:
    """Return the author: an item of the Identified Person or Device Macro (PS3.3 C.17.2)."""
    item = Dataset()
    item.ObserverType = "PSN"
    item.PersonName = observer_name(reviewer)
    item.PersonIdentificationCodeSequence = []
    item.InstitutionName = ""
    item.InstitutionCodeSequence = []
    return item


def _reviewed(report: Report) -> Dataset:
    """Return what is needed of the reviewed report, which this node wrote.

    Raises:
        ReportError: it isn't there or can't be read.
    """
    keywords = ["SeriesInstanceUID", "CurrentRequestedProcedureEvidenceSequence"]
    try:
        with warnings.catch_warnings():
            # It repeats UIDs as they were received.
            warnings.simplefilter("ignore", UserWarning)
            return dcmread(report.path, specific_tags=list(keywords))
    except (OSError, InvalidDicomError) as error:
        raise ReportError(f"the reviewed report {report.sop_instance_uid} can't be read") from error


def _evidence(reviewed: Dataset) -> Iterator[Reference]:
    """Yield every image that the reviewed report names."""
    for study in reviewed.get("CurrentRequestedProcedureEvidenceSequence", ()):
        for series in study.ReferencedSeriesSequence:
            for instance in series.ReferencedSOPSequence:
                yield Reference(
                    series_instance_uid=str(series.SeriesInstanceUID),
                    sop_class_uid=str(instance.ReferencedSOPClassUID),
                    sop_instance_uid=str(instance.ReferencedSOPInstanceUID),
                )


def _reference(report: Report, reviewed: Dataset) -> Reference:
    return Reference(
        series_instance_uid=str(reviewed.SeriesInstanceUID),
        sop_class_uid=report.sop_class_uid,
        sop_instance_uid=report.sop_instance_uid,
    )


def _tree(review: Review, settings: ReportSettings) -> Item:
    """Return the root content item: a Measurement Report (TID 1500) whose observer is a person (TID 1002, 1003)."""
    items = [
        content.code(content.HAS_CONCEPT_MOD, tree.LANGUAGE, Concept(settings.language, "RFC5646", "English")),
        content.code(content.HAS_OBS_CONTEXT, tree.OBSERVER_TYPE, PERSON),
        content.person(content.HAS_OBS_CONTEXT, PERSON_NAME, observer_name(review.reviewer)),
        content.text(content.HAS_OBS_CONTEXT, LOGIN_NAME, sanitise.paragraph(review.login)),
        content.code(content.HAS_CONCEPT_MOD, tree.PROCEDURE_REPORTED, tree.procedure(review.verdict)),
        content.container(content.CONTAINS, tree.IMAGING_MEASUREMENTS, [_group(review, settings)]),
    ]
    return content.container("", tree.TITLE, items, template="1500")


def _group(review: Review, settings: ReportSettings) -> Item:
    """Return the group that says what the person thinks, and of which report (TID 1501)."""
    study = review.verdict.study_instance_uid
    tracking = derive_uid(settings.uid_root, "tracking", study, "review", review.number)
    reviewed = review.reviewed
    items = [
        content.text(content.HAS_OBS_CONTEXT, TRACKING_IDENTIFIER, f"Review {review.number}"),
        content.uidref(content.HAS_OBS_CONTEXT, TRACKING_UID, tracking),
        content.code(content.CONTAINS, FINDING, scheme.AUTHENTICITY),
        content.code(content.CONTAINS, scheme.OPINION, scheme.OPINIONS[review.opinion]),
        content.code(content.CONTAINS, scheme.REVIEWED_ASSESSMENT, scheme.LABELS[VerdictLabel(review.verdict.label)]),
        content.composite(content.CONTAINS, scheme.REVIEWED_REPORT, reviewed.sop_class_uid, reviewed.sop_instance_uid),
        content.text(content.CONTAINS, COMMENT, _comment(review)),
    ]
    return content.container(content.CONTAINS, MEASUREMENT_GROUP, items, template=_IMAGE_GROUP)


def _comment(review: Review) -> str:
    said = sanitise.paragraph(review.comment)
    about = f"On revision {review.verdict.revision}: study assessed as {review.verdict.label}."
    if review.verdict.label == VerdictLabel.NOT_ASSESSED:
        about = f"On revision {review.verdict.revision}: study not assessed."
    return "\n".join(part for part in (said, f"{about} {_DISCLAIMER}") if part)
