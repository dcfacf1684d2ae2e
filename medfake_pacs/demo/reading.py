"""Reading a report back, as a viewer would: from its content alone."""

import re
import warnings
from pathlib import Path

from highdicom.sr import CodedConcept, Comprehensive3DSR, ComprehensiveSR, MeasurementsAndQualitativeEvaluations, srread

from medfake_pacs.demo.case import DemoError, Reading

_ASSESSMENT = CodedConcept("ASSESSMENT", "99MEDFAKE", "Image authenticity assessment")
_PROBABILITY = CodedConcept("PROBABILITY-FAKE", "99MEDFAKE", "Probability of fake")
_COMMENT = ("121106", "DCM")
_STUDY_GROUP = "Study"
_REASON = re.compile(r"Reason: (.*?)\.(?: [A-Z]|$)")


def read_report(path: Path, study_instance_uid: str) -> Reading:
    """Return what the report at ``path`` says of the study.

    Raises
    ------
    DemoError
        If it is not a report on that study, or says no verdict.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sources' odd values, copied into the report's header
        document = srread(path)
    if not isinstance(document, (Comprehensive3DSR, ComprehensiveSR)):
        raise DemoError(f"{path} is no Comprehensive SR")
    if document.StudyInstanceUID != study_instance_uid:
        raise DemoError(f"{path} is on another study than {study_instance_uid}")
    group = _study_group(document, path)
    evaluations = group.get_qualitative_evaluations(_ASSESSMENT)
    if len(evaluations) != 1:
        raise DemoError(f"{path} says no verdict")
    probabilities = group.get_measurements(_PROBABILITY)
    comment = _comment(group)
    reason = _REASON.search(comment)
    return Reading(
        verdict=evaluations[0].value.meaning,
        probability=float(probabilities[0].value) if probabilities else None,
        reason=reason.group(1) if reason else "",
        path=path,
    )


def _study_group(document: Comprehensive3DSR | ComprehensiveSR, path: Path) -> MeasurementsAndQualitativeEvaluations:
    for group in document.content.get_image_measurement_groups():
        if group.tracking_identifier == _STUDY_GROUP:
            return group
    raise DemoError(f"{path} has no measurement group of the study")


def _comment(group: MeasurementsAndQualitativeEvaluations) -> str:
    for item in group[0].ContentSequence:
        name = item.ConceptNameCodeSequence[0]
        if (name.CodeValue, name.CodingSchemeDesignator) == _COMMENT:
            return str(item.TextValue)
    return ""
