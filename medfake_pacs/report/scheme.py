"""The private coding scheme 99MEDFAKE, because no standard concept says whether an image is authentic.

It is declared in each report by the Coding Scheme Identification Sequence (PS3.3 C.12.1.1.1).
"""

from typing import NamedTuple

from pydicom.dataset import Dataset

from medfake_pacs.entities import VerdictLabel

SCHEME_DESIGNATOR = "99MEDFAKE"
SCHEME_UID = "2.25.108311759197809696718134478261273592186"
SCHEME_NAME = "medfake_pacs image authenticity"
SCHEME_VERSION = "1"


class Concept(NamedTuple):
    """A coded concept: Code Value, Coding Scheme Designator, Code Meaning (PS3.3 8.1 to 8.3)."""

    value: str
    scheme: str
    meaning: str


def code_item(concept: Concept) -> Dataset:
    """Return one item of a code sequence."""
    item = Dataset()
    item.CodeValue = concept.value
    item.CodingSchemeDesignator = concept.scheme
    item.CodeMeaning = concept.meaning
    return item


def _private(value: str, meaning: str) -> Concept:
    return Concept(value, SCHEME_DESIGNATOR, meaning)


AUTHENTICITY = _private("AUTHENTICITY", "Image authenticity")
ASSESSMENT = _private("ASSESSMENT", "Image authenticity assessment")
REASON = _private("REASON", "Reason for the assessment")
DECLARATION = _private("DECLARATION", "Declaration in the image header")
INTEGRITY = _private("INTEGRITY", "Integrity of the received instance")
PROBABILITY_OF_FAKE = _private("PROBABILITY-FAKE", "Probability of fake")
MODEL_SCORE = _private("MODEL-SCORE", "Model score (logit, above zero leans to fake)")
IMAGES_TOTAL = _private("IMAGES-TOTAL", "Images received")
IMAGES_ASSESSED = _private("IMAGES-ASSESSED", "Images assessed")
IMAGES_FAKE = _private("IMAGES-FAKE", "Images assessed as fake")

DECLARED_SYNTHETIC = _private("SYNTHETIC", "declared synthetic")
CONFLICTING_INSTANCE = _private("CONFLICT", "conflicting instance")

LABELS = {
    VerdictLabel.REAL: _private("REAL", "real"),
    VerdictLabel.FAKE: _private("FAKE", "fake"),
    VerdictLabel.INDETERMINATE: _private("INDETERMINATE", "indeterminate"),
    VerdictLabel.NOT_ASSESSED: _private("NOT-ASSESSED", "not assessed"),
}

# What a person says of a report: its own group, so that nobody takes it for an assessment by the node.
OPINION = _private("OPINION", "Opinion on the assessment")
REVIEWED_ASSESSMENT = _private("REVIEWED-VERDICT", "Assessment that was reviewed")
REVIEWED_REPORT = _private("REVIEWED-REPORT", "Report that was reviewed")
OPINIONS = {
    "agree": _private("AGREE", "agrees with the assessment"),
    "disagree": _private("DISAGREE", "disagrees with the assessment"),
    "comment": _private("COMMENT-ONLY", "comments on the assessment"),
}

BETWEEN_THRESHOLDS = _private("BETWEEN", "between the thresholds for real and fake")
NOT_ROUTED = _private("NOT-ROUTED", "no model is configured for this kind of image")
OUTSIDE_DOMAIN = _private("OUTSIDE-DOMAIN", "outside what the model was made for")
NOT_CALIBRATED = _private("NOT-CALIBRATED", "of a kind that the model has no thresholds for")
NOT_SCORED = _private("NOT-SCORED", "the image could not be decoded or scored")
