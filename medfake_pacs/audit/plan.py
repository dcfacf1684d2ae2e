"""Turn a filter into conditions whose work can be bounded, however long the log is.

One condition, the most selective one, drives: its index yields rows in order of ``seq``. The others are
checked on the rows that it yields, and written so that no planner takes an index for them.
"""

import json
import re
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.audit.canonical import canonical_json
from medfake_pacs.audit.rows import AuditFilter
from medfake_pacs.database.tables import audit_events

# The kinds of events that name a destination, and those whose object may have gone out under another UID.
DESTINATION_KINDS = (
    "report-sent",
    "report-failed",
    "delivery-dead",
    "delivery-retried",
    "delivery-dismissed",
    "destination-echoed",
)
_SENT_KINDS = ("report-sent", "report-failed", "delivery-dead")
# A model that couldn't be loaded has a name in the log, but no digest.
_UNLOADED_KIND = "image-not-assessed"
_DIGEST_PREFIX = re.compile(r"[0-9a-f]{6,64}")
_ROWS_THAT_NAME_A_MODEL = 20
# From the most selective condition to the least.
_EQUAL = (
    ("series", "series_instance_uid"),
    ("study", "study_instance_uid"),
    ("accession", "accession_number"),
    ("patient", "patient_id"),
    ("model", "model_sha256"),
    ("verdict", "verdict"),
    ("ae_title", "ae_title"),
    ("kind", "kind"),
)
Clause = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``drivers``: alternatives, each with an index that is in order of ``seq``; ``checks``: what rows must meet too.

    No driver means every row in order of ``seq``.
    """

    drivers: tuple[Clause, ...]
    checks: tuple[Clause, ...]
    since: str
    until: str

    @property
    def condition(self) -> Clause:
        """All of it as one condition."""
        drivers = (sa.or_(*self.drivers),) if self.drivers else ()
        return sa.and_(sa.true(), *drivers, *self.checks, *self.times(audit_events.c.occurred_at))

    def times(self, column: sa.ColumnElement[str]) -> tuple[Clause, ...]:
        """Return the conditions on the time."""
        since = (column >= self.since,) if self.since else ()
        return (*since, column < self.until) if self.until else since


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One condition: any of the values in the column, and ``check`` on the rows' text."""

    column: str
    values: tuple[str, ...]
    check: Clause | None = None
    other: Clause | None = None

    def drivers(self) -> tuple[Clause, ...]:
        column = audit_events.c[self.column]
        # Some of the indexes leave out rows without a value, and serve whoever says that they don't want those.
        filled = column != sa.literal_column("''")
        found = tuple(sa.and_(column == value, filled) for value in self.values)
        return found if self.other is None else (*found, self.other)

    def as_check(self) -> Clause:
        column = unindexed(audit_events.c[self.column])
        found = column.in_(self.values)
        return found if self.other is None else sa.or_(found, self.other)


def make_plan(connection: sa.Connection, conditions: AuditFilter) -> Plan:
    """Return how to find the rows that meet every condition."""
    parts = _parts(connection, conditions)
    checks = [part.as_check() for part in parts[1:]]
    checks += [part.check for part in parts if part.check is not None]
    return Plan(
        drivers=parts[0].drivers() if parts else (),
        checks=tuple(checks),
        since=conditions.since,
        until=conditions.until,
    )


def unindexed(column: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return a text column's value as an expression that no index of the column serves."""
    return column.concat(sa.literal_column("''"))


def _parts(connection: sa.Connection, conditions: AuditFilter) -> list[_Part]:
    """Return the conditions that are set, the one that drives first."""
    first: list[_Part] = []
    last: list[_Part] = []
    if conditions.instance:
        by_uid, part = _instance(connection, conditions.instance)
        (first if by_uid else last).append(part)
    for name, column in _EQUAL:
        value = getattr(conditions, name)
        if value and name == "model":
            first.append(_model(connection, value))
        elif value:
            first.append(_Part(column=column, values=(value,)))
    if conditions.destination:
        check = _member(connection, "destination", conditions.destination)
        last.append(_Part(column="kind", values=DESTINATION_KINDS, check=check))
    return [*first, *last]


def _instance(connection: sa.Connection, uid: str) -> tuple[bool, _Part]:
    """Match an object's rows; a report that went out under another UID is found by that one, if by no row's own."""
    own = audit_events.c.sop_instance_uid == uid
    if connection.execute(sa.select(audit_events.c.seq).where(own).limit(1)).first():
        return True, _Part(column="sop_instance_uid", values=(uid,))
    sent = _member(connection, "sent_sop_instance_uid", uid)
    return False, _Part(column="kind", values=_SENT_KINDS, check=sent)


def _model(connection: sa.Connection, model: str) -> _Part:
    """Match the rows of every digest that goes by that name, or begins so."""
    digests = _digests(connection)
    named = [digest for digest in digests if model in _names(connection, digest)]
    if _DIGEST_PREFIX.fullmatch(model.lower()):
        named += [digest for digest in digests if digest.startswith(model.lower()) and digest not in named]
    unloaded = sa.and_(audit_events.c.kind == _UNLOADED_KIND, _member(connection, "model", model))
    return _Part(column="model_sha256", values=tuple(named), other=unloaded)


def _digests(connection: sa.Connection) -> list[str]:
    """Return the models' digests in the log: one look into the index for each, however many rows it has."""
    column = audit_events.c.model_sha256
    filled = column != sa.literal_column("''")
    first = sa.select(sa.func.min(column).label("digest")).where(filled).cte("digests", recursive=True)
    following = sa.select(sa.func.min(column)).where(column > first.c.digest, filled).scalar_subquery()
    every = first.union_all(sa.select(following).where(first.c.digest.is_not(None)))
    return list(connection.execute(sa.select(every.c.digest).where(every.c.digest.is_not(None))).scalars())


def _names(connection: sa.Connection, digest: str) -> set[str]:
    """Return what the model of that digest is called in the first and the last rows that have it."""
    columns = audit_events.c
    names: set[str] = set()
    for order in (columns.seq, columns.seq.desc()):
        filled = columns.model_sha256 != sa.literal_column("''")
        query = sa.select(columns.payload).where(columns.model_sha256 == digest, filled).order_by(order)
        for text in connection.execute(query.limit(_ROWS_THAT_NAME_A_MODEL)).scalars():
            try:
                facts = json.loads(text).get("payload", {})
                names |= {facts.get("model"), facts.get("model_name")}
            except (ValueError, AttributeError, TypeError):
                # A row that was tampered with names no model; `audit verify` is there to say so.
                continue
    return {name for name in names if isinstance(name, str)}


def _member(connection: sa.Connection, key: str, value: str) -> Clause:
    """Match a member of the payload in its text: canonical JSON writes it in one way only."""
    text = f"{canonical_json(key)}:{canonical_json(value)}"
    position = sa.func.strpos if connection.dialect.name == "postgresql" else sa.func.instr
    return position(audit_events.c.payload, text) > 0
