"""Which index the worklist's query is to follow, where the database can't know.

PostgreSQL keeps statistics of the single values and is left to itself. SQLite has none of them: it would walk all
studies of a modality to find the three of an AE title. So what each condition alone would leave is counted first, in
its index and up to a bound, and the condition that leaves the fewest leads. A unary plus keeps SQLite from using an
index for the others; they are tested in the leading index' further columns, without touching the table.
"""

from enum import Enum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from medfake_pacs.database.tables import studies

if TYPE_CHECKING:
    from medfake_pacs.console.queries.worklist import StudyFilter

_BOUND = 50_000


class Lead(Enum):
    """The condition whose index is followed."""

    DATABASE = "the database's choice"
    ORDER = "the order alone"
    STUDY = "study_instance_uid"
    ACCESSION = "accession_number"
    PATIENT = "patient_id"
    RECEIVED = "first_received_at"
    AE_TITLE = "calling_ae_title"
    MODALITY = "modality"
    VERDICT = "verdict"

    def ordered(self, column: sa.Column[float]) -> sa.ColumnElement[float]:
        """Return what to sort by: the column, or something that keeps SQLite from following its index instead."""
        by_time_only = {Lead.STUDY, Lead.ACCESSION, Lead.PATIENT, Lead.RECEIVED}
        return _unindexed(column) if self in by_time_only and column.name != "first_received_at" else column


# Of conditions that leave equally many (or more than was counted) the first leads.
_LEADS = (Lead.ACCESSION, Lead.PATIENT, Lead.AE_TITLE, Lead.MODALITY)


def choose_lead(connection: sa.Connection, conditions: "StudyFilter", order: sa.Column[float], now: float) -> Lead:
    """Return the condition that leaves the fewest studies."""
    if connection.dialect.name != "sqlite":
        return Lead.DATABASE
    verdicts, equalities = conditions.stored_verdicts(), conditions.equalities()
    if Lead.STUDY.value in equalities:
        return Lead.STUDY
    alone: dict[Lead, sa.ColumnElement[bool]] = {
        lead: studies.c[lead.value] == equalities[lead.value] for lead in _LEADS if lead.value in equalities
    }
    if verdicts:
        alone[Lead.VERDICT] = studies.c.verdict.in_(verdicts)
    span = _span(conditions, now, studies.c.first_received_at)
    if span and order.name != "first_received_at":
        alone[Lead.RECEIVED] = sa.and_(*span)
    if len(alone) < 2 and Lead.RECEIVED not in alone:
        return next(iter(alone), Lead.ORDER)
    counts = {lead: _count(connection, condition) for lead, condition in alone.items()}
    best = min(counts, key=lambda lead: counts[lead])
    if best is Lead.RECEIVED and counts[best] >= _BOUND:
        return Lead.ORDER
    return best


def conditions_of(
    conditions: "StudyFilter", verdicts: tuple[str, ...], lead: Lead, order: sa.Column[float], now: float
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions, those that don't lead written so that SQLite uses no index for them."""
    free = lead is Lead.DATABASE

    def side(name: str) -> Any:
        return studies.c[name] if free or lead.value == name else _unindexed(studies.c[name])

    where = [side(name) == value for name, value in conditions.equalities().items()]
    if len(verdicts) == 1:
        where.append(side("verdict") == verdicts[0])
    elif verdicts:
        where.append(side("verdict").in_(verdicts))
    by_time = order.name == "first_received_at" or lead in {Lead.RECEIVED, Lead.PATIENT, Lead.ACCESSION}
    received = studies.c.first_received_at
    return where + _span(conditions, now, received if free or by_time else _unindexed(received))


def _span(conditions: "StudyFilter", now: float, received: Any) -> list[sa.ColumnElement[bool]]:
    until = conditions.received_before(now)
    span = [] if conditions.received_from is None else [received >= conditions.received_from]
    return span if until is None else [*span, received < until]


def _count(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> int:
    some = sa.select(sa.literal(1)).select_from(studies).where(condition).limit(_BOUND).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def _unindexed(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return sa.type_coerce(sa.literal_column(f"+studies.{column.name}"), column.type)
