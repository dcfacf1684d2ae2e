"""The API's words for studies, series and instances; each field says what it is."""

from typing import Annotated, Literal

from pydantic import Field

from medfake_pacs.console.queries.facts import Fact
from medfake_pacs.console.queries.worklist import IN_PROGRESS as _IN_PROGRESS

IN_PROGRESS = _IN_PROGRESS
Word = Annotated[
    Literal["real", "fake", "indeterminate", "not assessed", "in progress"],
    Field(description="the verdict; `in progress` while there is none", examples=["fake"]),
]
Uid = Annotated[str, Field(max_length=64, examples=["1.2.276.0.7230010.3.1.2.1787205428.166.1117461927.5"])]
Probability = Annotated[
    float | None,
    Field(description="the calibrated probability that the pixels are fake; null where no model assessed them"),
]
Moment = Annotated[float, Field(description="seconds since 1970-01-01 00:00:00 UTC", examples=[1_769_846_400.0])]
Digest = Annotated[str, Field(description="SHA-256 as hexadecimal digits; empty where there is none")]


class DeliveryCounts(Fact):
    """How many deliveries of a study's reports are in which state."""

    waiting: int = 0
    sent: int = 0
    dead: Annotated[int, Field(description="dead letters: given up until somebody sends them again")] = 0
    dismissed: Annotated[int, Field(description="dead letters that an administrator has put aside")] = 0


class Study(Fact):
    """A study as the worklist shows it."""

    study_instance_uid: Uid
    patient_id: str
    accession_number: str
    modality: Annotated[str, Field(description="of the series that decides the verdict; until then of the first image")]
    study_description: str
    ae_title: Annotated[str, Field(description="the calling AE title that sent the first image")]
    received_at: Annotated[Moment, Field(description="when the first image came, seconds since the epoch")]
    last_received_at: Moment | None
    verdict: Word
    probability: Probability
    revision: Annotated[int | None, Field(description="the revision that the verdict is on")]
    verdict_at: Moment | None
    reopened: Annotated[
        bool, Field(description="whether a newer verdict is to come: images arrive, or a newer revision isn't assessed")
    ]
    failed_attempts: Annotated[int, Field(description="how often assessing the revision that is due failed")]
    model: Annotated[str, Field(description="the model; empty where there are several or none")]
    model_sha256: Digest
    images_total: int
    images_scored: int
    images_received: Annotated[int | None, Field(description="while images are arriving: how many have come")]
    deliveries: DeliveryCounts


class StudyList(Fact):
    """Some studies in order."""

    studies: list[Study]
    next: Annotated[str | None, Field(description="the address of what follows; null at the end")]


class Delivery(Fact):
    """One report on its way to one destination."""

    destination: str
    state: Literal["waiting", "sent", "dead", "dismissed"]
    attempts: int
    finished_at: Moment | None
    last_status: Annotated[int | None, Field(description="the DIMSE status that was answered last")]
    last_comment: str


class Report(Fact):
    """A Structured Report."""

    sop_instance_uid: Uid
    created_at: Moment
    sha256: Digest
    deliveries: list[Delivery]


class Revision(Fact):
    """What a study consisted of at one time, and the verdict on that."""

    revision: int
    completed_at: Moment
    trigger: Annotated[str, Field(description="why it was taken to be complete")]
    verdict: Word
    probability: Probability
    images_total: int
    images_scored: int
    reason: str
    report: Report | None


class Series(Fact):
    """A series and its part in the study's newest verdict."""

    series_instance_uid: Uid
    modality: str
    series_description: str
    images_received: int
    verdict: Word
    probability: Probability = None
    reason: str = ""
    route: str = ""
    model: str = ""
    model_sha256: Digest = ""
    images_total: Annotated[int, Field(description="the images that the verdict is on")] = 0
    images_scored: int = 0


class StudyDetail(Study):
    """A study with its series, its revisions, their reports and deliveries."""

    reason: Annotated[str, Field(description="why the verdict is what it is, where it isn't plain")]
    series: list[Series]
    revisions: Annotated[list[Revision], Field(description="the newest first")]
    check_reports: Annotated[
        list[Report], Field(description="on uploaded images of this study that were released, the newest first")
    ]


class Region(Fact):
    """A rectangle that carries the finding, in pixels of the frame from its top left corner."""

    frame: int
    x: int
    y: int
    width: int
    height: int
    score: Annotated[float, Field(description="a raw logit: above zero leans to fake")]


class Instance(Fact):
    """One received object and its part in the study's newest verdict."""

    sop_instance_uid: Uid
    sop_class_uid: Uid
    instance_id: Annotated[int, Field(description="the node's number; tells objects with the same UID apart")]
    instance_number: int | None
    number_of_frames: int
    received_at: Moment
    content_sha256: Annotated[str, Field(description="SHA-256 of transfer syntax and data set")]
    verdict: Word
    probability: Probability = None
    score: Annotated[float | None, Field(description="the highest raw logit of its frames")] = None
    frame_numbers: Annotated[tuple[int, ...], Field(description="those that carry the finding, from 1")] = ()
    regions: tuple[Region, ...] = ()
    reason: str = ""
    conflict: Annotated[str, Field(description="how it contradicts another object with this SOP Instance UID")] = ""
    declared_synthetic: Annotated[bool, Field(description="whether Synthetic Data (0008,001C) is YES")] = False


class InstanceList(Fact):
    """Some objects of a series, in the order in which they came."""

    instances: list[Instance]
    next_after: Annotated[int | None, Field(description="`after` for what follows; null at the end")]
