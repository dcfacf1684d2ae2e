"""The log and the counts over the REST API."""

import time
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from medfake_pacs.audit.conditions import CONDITIONS
from medfake_pacs.audit.rows import AuditRow
from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.log_check import CheckState, LogCheck, log_check_of
from medfake_pacs.console.queries import log, log_export
from medfake_pacs.console.queries.drift import Drift, drift, installed_cards
from medfake_pacs.console.queries.statistics import (
    LABELS,
    DayCache,
    day_cache_of,
    read_period,
    start_of,
    statistics,
)
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading

router = APIRouter(tags=["log"])
Using = Annotated[Services, Depends(services_of)]
Auditor = Annotated[Identity, requires(Permission.LOG_READ)]
Check = Annotated[LogCheck, Depends(log_check_of)]
Cache = Annotated[DayCache, Depends(day_cache_of)]
_HELP = {condition.name: condition.help for condition in CONDITIONS}
_MAX_ROWS = 500


class Conditions(BaseModel):
    """What to look for; empty leaves a condition out."""

    patient: str = Field("", description=_HELP["patient"])
    accession: str = Field("", description=_HELP["accession"])
    study: str = Field("", description=_HELP["study"])
    series: str = Field("", description=_HELP["series"])
    instance: str = Field("", description=_HELP["instance"])
    model: str = Field("", description=_HELP["model"])
    ae_title: str = Field("", description=_HELP["ae_title"])
    kind: str = Field("", description=_HELP["kind"])
    destination: str = Field("", description=_HELP["destination"])
    verdict: str = Field("", description=_HELP["verdict"])
    since: str = Field("", description=_HELP["since"])
    until: str = Field("", description=_HELP["until"])


class PageOfConditions(Conditions):
    """What to look for, and which page of it."""

    order: Literal["newest", "oldest"] = Field("newest", description="which row comes first")
    limit: int = Field(100, ge=1, le=_MAX_ROWS, description="rows at most")
    cursor: str = Field("", description="next_cursor of the page before; empty for the first")


class ExportConditions(Conditions):
    """What to export, and how."""

    format: Literal["csv", "jsonl"] = Field("jsonl", description="JSON Lines carry what the hashes cover")


class LogRow(BaseModel):
    """One row of the log."""

    seq: int = Field(description="its number, from 1 without a gap")
    occurred_at: str = Field(description="RFC 3339, UTC")
    kind: str
    patient_id: str
    accession_number: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    verdict: str
    ae_title: str
    model_sha256: str
    event: Any = Field(description="the payload as a value")
    payload: str = Field(description="the payload as it is stored: canonical JSON (RFC 8785)")
    previous_hash: str
    hash: str = Field(description="SHA-256 of previous_hash, a line feed and payload")


class LogPage(BaseModel):
    """Some rows of the log."""

    rows: list[LogRow]
    next_cursor: str | None = Field(description="cursor of the next page; null at the end")
    looked_at_enough: bool = Field(description="the page isn't full because five thousand rows were looked at for it")


class LogCheckStatus(BaseModel):
    """How far the newest check of the log is."""

    state: Literal["never", "running", "whole", "broken", "stopped"]
    rows_done: int = 0
    rows_total: int = 0
    text: str = Field("", description="what it came to, as `audit verify` says it")
    remarks: list[str] = []
    first_broken_seq: int | None = None
    started_at: float | None = Field(None, description="seconds since the epoch")
    finished_at: float | None = Field(None, description="seconds since the epoch")


class CountOf(BaseModel):
    """How many studies there are of something."""

    name: str
    studies: int


class DayCount(BaseModel):
    """How many studies were received on a day, by verdict."""

    day: date
    studies: int
    by_verdict: dict[str, int]


class DriftOf(BaseModel):
    """Whether a model's newest scores lie where those of its card's clean test images lay."""

    model: str
    version: str
    model_sha256: str
    images: int
    outside_domain: int
    reference_images: int
    difference: float | None = Field(description="Kolmogorov and Smirnov's; null where there are too few images")
    drifted: bool
    text: str


class StatisticsOf(BaseModel):
    """Studies received over a span of days (UTC, both included), by the day of their first image."""

    since: date
    until: date
    studies: int
    by_day: list[DayCount]
    by_verdict: list[CountOf]
    by_model: list[CountOf]
    by_source: list[CountOf]
    drift: list[DriftOf]


@router.get("/log")
def search_log(services: Using, identity: Auditor, conditions: Annotated[PageOfConditions, Query()]) -> LogPage:
    """Return rows that meet every condition. The search is itself put into the log, once for all of its pages."""
    search = log.read_search(conditions.model_dump(exclude={"limit"}))
    found = log.find(services, identity, search, conditions.limit)
    return LogPage(
        rows=[_row(row) for row in found.rows],
        next_cursor=found.cursor or None,
        looked_at_enough=found.looked_at_enough,
    )


@router.get("/log/export", response_class=Response)
def export_log(
    services: Using, identity: Auditor, conditions: Annotated[ExportConditions, Query()]
) -> StreamingResponse:
    """Stream every row that meets the conditions, the oldest first, as `audit query --format` writes it."""
    search = log.read_search(conditions.model_dump(exclude={"format"}))
    if search.wrong:
        raise InvalidInputError("; ".join(f"{name}: {what}" for name, what in search.wrong.items()), dict(search.wrong))
    content = log_export.begin_export(services, identity, search.conditions, conditions.format)
    return StreamingResponse(content, media_type=log_export.MEDIA_TYPES[conditions.format])


@router.get("/log/verify")
def log_check_status(_services: Using, _identity: Auditor, check: Check) -> LogCheckStatus:
    """Say how far the newest check of the log is, since the console started."""
    return _status(check.state)


@router.post("/log/verify", status_code=202)
def check_log(services: Using, identity: Auditor, check: Check, response: Response) -> LogCheckStatus:
    """Begin a check of the whole log unless one is running. Ask the address in `Location` how far it is."""
    response.headers["Location"] = "/api/log/verify"
    return _status(check.start(services, identity))


@router.get("/log/{seq}")
def log_row(services: Using, identity: Auditor, seq: int) -> LogRow:
    """Return one row."""
    return _row(log.look_at(services, identity, seq).row)


@router.get("/statistics")
def count_studies(
    services: Using,
    _identity: Auditor,
    cache: Cache,
    since: Annotated[str, Query(description="first day, ISO date; empty: 30 days up to the last")] = "",
    until: Annotated[str, Query(description="last day, ISO date; empty: today")] = "",
) -> StatisticsOf:
    """Count studies by day, verdict, model and source, 366 days at most; say whether the models' scores drift."""
    now = time.time()
    period = read_period(since, until, datetime.fromtimestamp(now, UTC).date())
    with reading(services.engine) as connection:
        found = statistics(connection, cache, period, now)
        drifts = [drift(connection, card, start_of(period.since)) for card in installed_cards(services.settings)]
    return StatisticsOf(
        since=period.since,
        until=period.until,
        studies=found.total,
        by_day=[
            DayCount(day=day, studies=sum(counts), by_verdict=dict(zip(LABELS, counts, strict=True)))
            for day, counts in found.by_day
        ],
        by_verdict=_counts(found.by_verdict),
        by_model=_counts(found.by_model),
        by_source=_counts(found.by_source),
        drift=[_drift(each) for each in drifts],
    )


def _row(row: AuditRow) -> LogRow:
    values = {name: getattr(row, name) for name in LogRow.model_fields if name != "event"}
    return LogRow(**values, event=log.event_of(row))


def _status(state: CheckState | None) -> LogCheckStatus:
    if state is None:
        return LogCheckStatus(state="never")
    names = {True: "whole", False: "broken", None: "stopped"}
    return LogCheckStatus.model_validate(
        {
            "state": "running" if state.running else names[state.ok],
            "rows_done": state.rows_done,
            "rows_total": state.rows_total,
            "text": state.text,
            "remarks": list(state.remarks),
            "first_broken_seq": state.first_broken_seq,
            "started_at": state.started_at,
            "finished_at": state.finished_at,
        }
    )


def _counts(counted: tuple[tuple[str, int], ...]) -> list[CountOf]:
    return [CountOf(name=name, studies=count) for name, count in counted]


def _drift(found: Drift) -> DriftOf:
    return DriftOf(
        model=found.model,
        version=found.version,
        model_sha256=found.model_sha256,
        images=found.count,
        outside_domain=found.outside_domain,
        reference_images=found.reference_count,
        difference=found.difference,
        drifted=found.drifted,
        text=found.text,
    )
