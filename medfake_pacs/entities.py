"""The frozen values that flow between the stages; the stages share these and nothing else.

Times are seconds since the epoch, UTC. UIDs and AE titles are text as received, already checked for
length and repertoire, and are never used to build a path.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class VerdictLabel(StrEnum):
    """What the node says about an image, a series or a study."""

    REAL = "real"
    FAKE = "fake"
    INDETERMINATE = "indeterminate"
    NOT_ASSESSED = "not assessed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who sent an object: the association that it came by."""

    association_id: str
    calling_ae_title: str
    called_ae_title: str
    host: str
    tls_subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedInstance:
    """One object as it arrived: a Part 10 file on the spool's filesystem, not yet durable."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    path: Path
    peer: Peer
    received_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAttributes:
    """What the node needs to know of an object's header; empty text or None where it is absent."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str = ""
    body_part: str = ""
    study_description: str = ""
    series_description: str = ""
    patient_id: str = ""
    accession_number: str = ""
    image_type: str = ""
    instance_number: int | None = None
    slice_position_mm: float | None = None
    number_of_frames: int = 1
    synthetic_data: str = ""
    lossy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledInstance:
    """One object that is safe on disk: named by the SHA-256 of transfer syntax and data set, never by a UID."""

    attributes: ImageAttributes
    transfer_syntax_uid: str
    content_sha256: str
    size_bytes: int
    path: Path
    peer: Peer
    received_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What the decoder says of an image before its first frame; ``units`` is HU, OD, US or empty."""

    rows: int
    columns: int
    number_of_frames: int
    bits_stored: int
    photometric_interpretation: str
    transfer_syntax_uid: str
    decoder: str
    lossy: bool
    units: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedFrame:
    """One frame in modality units, (H, W) float32, bright is dense; ``sha256`` is of the stored values."""

    frame_number: int
    values: npt.NDArray[np.float32]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A rectangle that carries the finding, in pixels of the frame; the origin is the top left corner."""

    x: int
    y: int
    width: int
    height: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameScore:
    """One frame's raw score, a logit: above zero leans to fake; it isn't calibrated.

    ``tiles`` is the map of logits: rows of cells, each cell 32 by 32 pixels of the frame from its top left corner
    on; empty where the frame wasn't run, or was scored before maps were kept.
    """

    frame_number: int
    score: float
    regions: tuple[Region, ...] = ()
    outside_domain: str = ""
    tiles: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One image's scores by one model, keyed by (pixel digest, model digest)."""

    pixel_sha256: str
    model_sha256: str
    frames: tuple[FrameScore, ...]
    engine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFinding:
    """One image's part in a verdict; ``reason`` says why it is not assessed or indeterminate."""

    attributes: ImageAttributes
    instance_id: int
    label: VerdictLabel
    probability: float | None
    score: float | None
    frame_numbers: tuple[int, ...] = ()
    regions: tuple[tuple[int, Region], ...] = ()
    reason: str = ""
    declared_synthetic: bool = False
    conflict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model said it: name, version, thresholds it was run with.

    ``sha256`` covers the weights, the network, the preprocessing and the calibration; the parameter
    ``weights_sha256`` is that of the weights file alone.
    """

    name: str
    version: str
    sha256: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesVerdict:
    """The verdict on one series: "N of M images", and the images that carry it."""

    series_instance_uid: str
    modality: str
    label: VerdictLabel
    probability: float | None
    model: ModelIdentity | None
    route: str
    images_total: int
    images_scored: int
    reason: str
    findings: tuple[ImageFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on one revision of a study."""

    study_instance_uid: str
    revision: int
    label: VerdictLabel
    probability: float | None
    reason: str
    images_total: int
    images_scored: int
    series: tuple[SeriesVerdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One Structured Report on disk, ready to be sent; ``predecessor_uid`` is empty on revision 1."""

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    revision: int
    path: Path
    sha256: str
    predecessor_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The outcome of one attempt to send one report; ``status`` is None where no answer came.

    ``attempt`` counts the attempts at this delivery from 1: recording the same one twice changes nothing.
    ``sent_sop_instance_uid`` is that of the object on the wire, which has another one where the report went
    as Comprehensive SR, and ``sent_sha256`` the digest of its encoded data set; empty if nothing was sent.
    """

    delivery_id: int
    report_uid: str
    destination: str
    sop_class_uid: str
    status: int | None
    succeeded: bool
    comment: str
    attempt: int = 0
    sent_sop_instance_uid: str = ""
    sent_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One fact for the log. The named fields are what auditors filter by; ``payload`` is the rest."""

    kind: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    patient_id: str = ""
    accession_number: str = ""
    ae_title: str = ""
    verdict: str = ""
    model_sha256: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
