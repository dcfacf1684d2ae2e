"""Ask the log: the filters that auditors use, in order of the sequence number, streamed."""

import re
from collections.abc import Generator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from medfake_pacs.audit.canonical import canonical_json
from medfake_pacs.audit.chain import timestamp
from medfake_pacs.database.tables import audit_events
from medfake_pacs.errors import AuditError

_ROWS_PER_FETCH = 1000
_DELIVERY_KINDS = ("report-sent", "report-failed", "delivery-dead")
_DIGEST_PREFIX = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """What to look for; empty text or None leaves a condition out.

    ``since`` is included and ``until`` excluded, both RFC 3339 text in UTC (see ``moment``). ``model`` is
    the first six or more digits of a digest, or a bundle's name. ``destination`` is one's name.
    """

    patient: str = ""
    accession: str = ""
    study: str = ""
    series: str = ""
    instance: str = ""
    verdict: str = ""
    model: str = ""
    ae_title: str = ""
    kind: str = ""
    destination: str = ""
    since: str = ""
    until: str = ""
    limit: int | None = None

    def as_facts(self) -> dict[str, str | int]:
        """Return the conditions that are set, as the command line writes them, for the log of who read it."""
        conditions = asdict(self).items()
        return {f"--{name.replace('_', '-')}": value for name, value in conditions if value not in ("", None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One row as it is stored; ``payload`` is the text that ``hash`` covers."""

    seq: int
    occurred_at: str
    kind: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    accession_number: str
    ae_title: str
    verdict: str
    model_sha256: str
    payload: str
    previous_hash: str
    hash: str


def query(connection: sa.Connection, conditions: AuditFilter | None = None) -> Generator[AuditRow, None, None]:
    """Yield the rows that meet every condition, in the order in which they were written; memory stays flat."""
    statement = _statement(connection, conditions or AuditFilter())
    with connection.execute(statement, execution_options={"yield_per": _ROWS_PER_FETCH}) as result:
        for row in result:
            yield AuditRow(**row._mapping)


def moment(text: str, *, end: bool = False) -> str:
    """Return an ISO date or date with time as the log writes times; without an offset it is UTC.

    A date alone is its first moment or, as the ``end`` of a span, the first of the next day.

    Raises
    ------
    AuditError
        If it is neither.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        day += timedelta(days=1 if end else 0)
        return timestamp(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise AuditError(f"{text!r} is no ISO date such as 2026-01-31 or 2026-01-31T08:00") from None
    return timestamp((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())


def _statement(connection: sa.Connection, conditions: AuditFilter) -> sa.Select[tuple[object, ...]]:
    columns = audit_events.c
    equal = {
        columns.patient_id: conditions.patient,
        columns.accession_number: conditions.accession,
        columns.study_instance_uid: conditions.study,
        columns.series_instance_uid: conditions.series,
        columns.verdict: conditions.verdict,
        columns.ae_title: conditions.ae_title,
        columns.kind: conditions.kind,
    }
    statement = sa.select(audit_events).order_by(columns.seq).limit(conditions.limit)
    for column, value in equal.items():
        if value:
            statement = statement.where(column == value)
    if conditions.instance:
        statement = statement.where(_is_instance(connection, conditions.instance))
    if conditions.since:
        statement = statement.where(columns.occurred_at >= conditions.since)
    if conditions.until:
        statement = statement.where(columns.occurred_at < conditions.until)
    if conditions.destination:
        statement = statement.where(_member(connection, "destination", conditions.destination))
    if conditions.model:
        statement = statement.where(_is_model(connection, conditions.model))
    return statement


def _is_instance(connection: sa.Connection, uid: str) -> sa.ColumnElement[bool]:
    """Match an object's rows; a report that went out under another UID is found by that one too."""
    columns = audit_events.c
    sent = sa.and_(columns.kind.in_(_DELIVERY_KINDS), _member(connection, "sent_sop_instance_uid", uid))
    return sa.or_(columns.sop_instance_uid == uid, sent)


def _is_model(connection: sa.Connection, model: str) -> sa.ColumnElement[bool]:
    named = sa.or_(_member(connection, "model", model), _member(connection, "model_name", model))
    if _DIGEST_PREFIX.fullmatch(model.lower()):
        return sa.or_(audit_events.c.model_sha256.startswith(model.lower(), autoescape=True), named)
    return named


def _member(connection: sa.Connection, key: str, value: str) -> sa.ColumnElement[bool]:
    """Match a member of the payload in its text: canonical JSON writes it in one way only."""
    text = f"{canonical_json(key)}:{canonical_json(value)}"
    position = sa.func.strpos if connection.dialect.name == "postgresql" else sa.func.instr
    return position(audit_events.c.payload, text) > 0
