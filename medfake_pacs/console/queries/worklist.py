"""The worklist: which studies, in which order, from which place on; it stays quick however many there are."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

import sqlalchemy as sa

from medfake_pacs.console.queries.reopened import is_reopened, reopened_studies, unassessed_revisions, waiting_since
from medfake_pacs.console.queries.worklist_cursor import Cursor
from medfake_pacs.console.queries.worklist_plan import Lead, choose_lead, conditions_of
from medfake_pacs.database.intake import SHOWN_CHARACTERS
from medfake_pacs.database.tables import deliveries, instances, studies
from medfake_pacs.entities import VerdictLabel

IN_PROGRESS = "in progress"
VERDICTS = (*map(str, VerdictLabel), IN_PROGRESS)
# How long a study may have been without a verdict: the choices, in seconds.
OVERDUE: Mapping[str, float] = {"1h": 3600.0, "6h": 21_600.0, "1d": 86_400.0, "7d": 604_800.0}
PAGE_SIZE = 50
_CHOICES = 200


class Order(StrEnum):
    """In which order studies are listed. In the last two, studies that lack the value are left out."""

    NEWEST = "newest"
    OLDEST = "oldest"
    PROBABILITY = "probability"
    VERDICT_AT = "verdict"

    @property
    def column(self) -> sa.Column[float]:
        """Return the column that is sorted by."""
        column = {Order.PROBABILITY: studies.c.probability, Order.VERDICT_AT: studies.c.verdict_at}
        return column.get(self, studies.c.first_received_at)

    @property
    def descending(self) -> bool:
        """Tell whether the largest value comes first."""
        return self is not Order.OLDEST


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFilter:
    """What to look for; empty leaves a condition out.

    ``verdicts`` are of VERDICTS. Times are seconds since the epoch, ``received_until`` is excluded.
    ``overdue_s``: received at least so long ago and still without a verdict, or without that on its newest images.
    """

    verdicts: tuple[str, ...] = ()
    modality: str = ""
    ae_title: str = ""
    received_from: float | None = None
    received_until: float | None = None
    patient_id: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    overdue_s: float | None = None

    def as_facts(self) -> dict[str, object]:
        """Return the conditions that are set, for the log of who searched."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None, ())}

    def equalities(self) -> dict[str, str]:
        """Return the columns that must have one value, as they are stored."""
        wanted = {
            "study_instance_uid": self.study_instance_uid,
            "patient_id": self.patient_id[:SHOWN_CHARACTERS],
            "accession_number": self.accession_number[:SHOWN_CHARACTERS],
            "calling_ae_title": self.ae_title,
            "modality": self.modality[:SHOWN_CHARACTERS],
        }
        return {name: value for name, value in wanted.items() if value}

    def stored_verdicts(self) -> tuple[str, ...]:
        """Return the verdicts to look for as they are stored: none is an empty text; () for any."""
        if self.overdue_s is not None:
            return ("",) if not self.verdicts or IN_PROGRESS in self.verdicts else ("none",)
        chosen = sorted({"" if each == IN_PROGRESS else each for each in self.verdicts})
        return () if len(chosen) == len(VERDICTS) else tuple(chosen)

    def received_before(self, now: float) -> float | None:
        """Return the time before which a study must have been received, if any."""
        limits = [self.received_until, None if self.overdue_s is None else now - self.overdue_s]
        return min((limit for limit in limits if limit is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One study as the worklist shows it; ``verdict`` is empty while there is none.

    ``reopened``: a newer verdict is to come, as images are arriving or a newer revision isn't assessed yet.
    ``images_received`` counts the images so far, for a study that is in progress or reopened; ``attempts`` how often
    assessing its newest revision failed. ``deliveries`` counts its reports' deliveries by state.
    """

    study_instance_uid: str
    revision: int
    first_received_at: float
    last_received_at: float | None
    patient_id: str
    accession_number: str
    modality: str
    study_description: str
    calling_ae_title: str
    verdict: str
    probability: float | None
    verdict_revision: int | None
    verdict_at: float | None
    model_name: str
    model_sha256: str
    images_total: int
    images_scored: int
    reopened: bool
    images_received: int | None = None
    attempts: int = 0
    next_attempt_at: float = 0.0
    deliveries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """Some studies in order; a cursor is None where nothing follows in its direction."""

    rows: tuple[StudyRow, ...]
    previous: Cursor | None
    following: Cursor | None


def page_of_studies(
    connection: sa.Connection,
    conditions: StudyFilter,
    order: Order,
    cursor: Cursor | None,
    *,
    now: float,
    limit: int = PAGE_SIZE,
) -> StudyPage:
    """Return the studies from a place in the list on, without the ones before being looked at."""
    found = _keys(connection, conditions, order, cursor, now, limit + 1)
    if cursor and cursor.backwards and len(found) <= limit:
        # The beginning: give a whole page.
        cursor = None
        found = _keys(connection, conditions, order, None, now, limit + 1)
    more, keys = len(found) > limit, found[:limit]
    if cursor and cursor.backwards:
        keys.reverse()
    before, after = (more, True) if cursor and cursor.backwards else (cursor is not None, more)
    return StudyPage(
        rows=study_rows(connection, [uid for _, uid in keys]),
        previous=Cursor(key=keys[0][0], uid=keys[0][1], backwards=True) if before and keys else None,
        following=Cursor(key=keys[-1][0], uid=keys[-1][1], backwards=False) if after and keys else None,
    )


def _keys(
    connection: sa.Connection,
    conditions: StudyFilter,
    order: Order,
    cursor: Cursor | None,
    now: float,
    limit: int,
) -> list[tuple[float, str]]:
    """Return what is sorted by, and the Study Instance UIDs, from the cursor on in its direction."""
    descending = order.descending != bool(cursor and cursor.backwards)
    verdicts = conditions.stored_verdicts()
    lead = choose_lead(connection, conditions, order.column, now)
    # One index range for each verdict: together they would have to be sorted first.
    apart = len(verdicts) > 1 and lead in {Lead.VERDICT, Lead.DATABASE}
    branches = [(verdict,) for verdict in verdicts] if apart else [verdicts]
    queries = []
    for branch in branches:
        where = conditions_of(conditions, branch, lead, order.column, now)
        queries.append(_walk(order.column, where, lead, cursor, descending, limit))
    if "" in verdicts or conditions.overdue_s is not None:
        queries.append(_walk_reopened(order.column, conditions, cursor, descending, now, limit))
    if len(queries) == 1:
        query = queries[0]
    else:
        # Not all: a reopened study may be there by its verdict as well.
        union = sa.union(*(sa.select(each.subquery()) for each in queries)).subquery()
        query = (
            sa.select(union.c.key, union.c.uid).order_by(*_ordering(union.c.key, union.c.uid, descending)).limit(limit)
        )
    return [(float(key), str(uid)) for key, uid in connection.execute(query)]


def _walk(
    column: sa.Column[float],
    where: Sequence[sa.ColumnElement[bool]],
    lead: Lead,
    cursor: Cursor | None,
    descending: bool,
    limit: int,
) -> sa.Select[tuple[float, str]]:
    uid = studies.c.study_instance_uid
    query = sa.select(column.label("key"), uid.label("uid")).where(*where)
    if column.nullable:
        query = query.where(column.is_not(None))
    query = query.where(*_past(cursor, column, uid, descending))
    ordered_by = lead.ordered(column)
    return query.order_by(*_ordering(ordered_by, uid, descending)).limit(limit)


def _walk_reopened(
    column: sa.Column[float],
    conditions: StudyFilter,
    cursor: Cursor | None,
    descending: bool,
    now: float,
    limit: int,
) -> sa.Select[tuple[float, str]]:
    """Return the part of those whose newer verdict is to come: never many, so all are fetched by their own index."""
    some = reopened_studies().c
    key, uid = some[column.name], some.study_instance_uid
    query = sa.select(key.label("key"), uid.label("uid")).where(key.is_not(None), *_past(cursor, key, uid, descending))
    query = query.where(*(some[name] == value for name, value in conditions.equalities().items()))
    if conditions.verdicts and IN_PROGRESS not in conditions.verdicts:
        query = query.where(some.verdict.in_(conditions.verdicts))
    if conditions.received_from is not None:
        query = query.where(some.first_received_at >= conditions.received_from)
    if conditions.received_until is not None:
        query = query.where(some.first_received_at < conditions.received_until)
    if conditions.overdue_s is not None:
        query = query.where(waiting_since(some) < now - conditions.overdue_s)
    return query.order_by(*_ordering(key, uid, descending)).limit(limit)


def _past(
    cursor: Cursor | None, key: sa.ColumnElement[float], uid: sa.ColumnElement[str], descending: bool
) -> list[sa.ColumnElement[bool]]:
    if cursor is None:
        return []
    at_or_past = key <= cursor.key if descending else key >= cursor.key
    past = key < cursor.key if descending else key > cursor.key
    return [at_or_past, sa.or_(past, uid < cursor.uid if descending else uid > cursor.uid)]


def _ordering(
    key: sa.ColumnElement[float], uid: sa.ColumnElement[str], descending: bool
) -> tuple[sa.ColumnElement[object], ...]:
    return (key.desc(), uid.desc()) if descending else (key.asc(), uid.asc())


def study_rows(connection: sa.Connection, uids: Sequence[str]) -> tuple[StudyRow, ...]:
    """Return what the worklist shows of these studies (at most 500 or so), in this order."""
    query = sa.select(studies).where(studies.c.study_instance_uid.in_(uids))
    found = {row["study_instance_uid"]: row for row in connection.execute(query).mappings()} if uids else {}
    reopened = {uid for uid, row in found.items() if row["verdict"] and is_reopened(row)}
    waiting = [uid for uid, row in found.items() if not row["verdict"] or uid in reopened]
    received = _images_received(connection, waiting)
    failed = unassessed_revisions(connection, waiting)
    sent = _deliveries(connection, list(found))
    names = StudyRow.__dataclass_fields__.keys() & studies.c.keys()
    return tuple(
        StudyRow(
            **{name: found[uid][name] for name in names},
            reopened=uid in reopened,
            images_received=received.get(uid),
            attempts=failed[uid].attempts if uid in failed else 0,
            next_attempt_at=failed[uid].next_attempt_at if uid in failed else 0.0,
            deliveries=sent.get(uid, {}),
        )
        for uid in uids
        if uid in found
    )


def _images_received(connection: sa.Connection, uids: Sequence[str]) -> dict[str, int]:
    study = instances.c.study_instance_uid
    query = sa.select(study, sa.func.count()).where(study.in_(uids)).group_by(study)
    return {row[0]: row[1] for row in connection.execute(query)} if uids else {}


def _deliveries(connection: sa.Connection, uids: Sequence[str]) -> dict[str, dict[str, int]]:
    study, state = deliveries.c.study_instance_uid, deliveries.c.state
    query = sa.select(study, state, sa.func.count()).where(study.in_(uids)).group_by(study, state)
    found: dict[str, dict[str, int]] = {}
    for uid, name, count in connection.execute(query) if uids else ():
        found.setdefault(uid, {})[name] = count
    return found


def choices(connection: sa.Connection, column: sa.Column[str]) -> list[str]:
    """Return the values that an indexed column of ``studies`` has, the first 200: one index seek for each."""
    step = sa.select(sa.func.min(column).label("value")).cte("step", recursive=True)
    following = sa.select(sa.func.min(column)).where(column > step.c.value).scalar_subquery()
    step = step.union_all(sa.select(following).where(step.c.value.is_not(None)))
    query = sa.select(step.c.value).where(step.c.value.is_not(None)).limit(_CHOICES)
    return [value for value in connection.execute(query).scalars() if value]


def is_empty(connection: sa.Connection) -> bool:
    """Tell whether no study has come yet."""
    return connection.execute(sa.select(studies.c.study_instance_uid).limit(1)).first() is None
