"""Searches of the log from the console: each is itself put into the log, once however many pages are looked at."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.audit.chain import GENESIS_HASH, chain_hash
from medfake_pacs.audit.conditions import CONDITIONS, read_conditions
from medfake_pacs.audit.export import view
from medfake_pacs.audit.rows import AuditFilter, AuditRow
from medfake_pacs.console.errors import InvalidInputError, NotFoundError
from medfake_pacs.console.queries.facts import seconds_of
from medfake_pacs.console.record import DicomEvent, record
from medfake_pacs.console.security.identity import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.console.viewing import SEARCH_LASTS_S
from medfake_pacs.database import reading
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent

READ = "log-read"
ORDERS = (("newest", "newest first"), ("oldest", "oldest first"))
_SEQ_DIGITS = 18
_TEXT_SHOWN = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What somebody asks for. ``given`` is as they wrote it, by name; ``wrong`` says what is wrong with it."""

    conditions: AuditFilter
    given: Mapping[str, str]
    wrong: Mapping[str, str]
    newest_first: bool = True
    cursor: str = ""

    @property
    def order(self) -> str:
        """The order's name."""
        return "newest" if self.newest_first else "oldest"

    def address(self, **more: str) -> dict[str, str]:
        """Return it as the values of an address."""
        order = {} if self.newest_first else {"order": self.order}
        return {**self.given, **order, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of rows; ``cursor`` is for the next one, empty at the end."""

    rows: tuple[AuditRow, ...]
    cursor: str
    looked_at_enough: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRow:
    """One row for people: the table's cells without the last, which is ``text``, and its whole ``payload``."""

    row: AuditRow
    cells: tuple[str, ...]
    text: str
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One row in the chain. ``whole`` tells whether its hash covers it and what comes before; None: can't be told."""

    row: AuditRow
    whole: bool
    follows: bool
    newer: int | None
    older: int | None


def read_search(values: Mapping[str, str]) -> Search:
    """Return the search that a form's or an address's values mean."""
    conditions, wrong = read_conditions(values)
    given = {each.name: values[each.name].strip() for each in CONDITIONS if values.get(each.name, "").strip()}
    if values.get("order", "newest") not in dict(ORDERS):
        wrong["order"] = f"choose from {', '.join(name for name, _ in ORDERS)}"
    return Search(
        conditions=conditions,
        given=given,
        wrong=wrong,
        newest_first=values.get("order") != "oldest",
        cursor=values.get("cursor", ""),
    )


def wrongly(search: Search, name: str, what: str) -> Search:
    """Return the search with one more thing that is wrong with it."""
    return replace(search, wrong={**search.wrong, name: what})


def find(services: Services, identity: Identity, search: Search, size: int) -> Found:
    """Put the search into the log unless it goes on with one that is there, and return the page.

    Raises
    ------
    InvalidInputError
        If a condition or the cursor makes no sense.
    """
    if search.wrong:
        text = "; ".join(f"{name}: {what}" for name, what in search.wrong.items())
        raise InvalidInputError(text, dict(search.wrong))
    under, after = _parse_cursor(search.cursor)
    # A cursor from before the search is none that its own pages gave.
    beyond = under is not None and after is not None and search.newest_first and after > under
    if under is None or beyond or not _is_this_search(services, identity, search, under):
        under = _record_search(services, identity, search)
    with reading(services.engine) as connection:
        page = audit.page(connection, search.conditions, size=size, newest_first=search.newest_first, after=after)
    cursor = "" if page.next_after is None else f"{under}-{page.next_after}"
    return Found(rows=page.rows, cursor=cursor, looked_at_enough=page.looked_at_enough)


def look_at(services: Services, identity: Identity, seq: int) -> Link:
    """Put into the log that a row is looked at, and return it with its place in the chain.

    Raises
    ------
    NotFoundError
        If the log has no such row.
    """
    columns = audit_events.c
    # A number that no row can have isn't even asked for: a database takes only so many digits.
    near = sa.select(audit_events).where(columns.seq.between(seq - 1, seq + 1))
    with reading(services.engine) as connection:
        found = connection.execute(near).all() if len(str(seq)) <= _SEQ_DIGITS else ()
    rows = {row.seq: AuditRow(**row._mapping) for row in found}
    if seq not in rows:
        raise NotFoundError(f"The log has no row {seq}. Search for what it was about.")
    record(services, DicomEvent.LOG_USED, identity, AuditEvent(kind=READ, payload={"filters": {"seq": seq}}))
    row, older = rows[seq], rows.get(seq - 1)
    before = older.hash if older else GENESIS_HASH
    return Link(
        row=row,
        whole=chain_hash(row.previous_hash.encode(), row.payload.encode()) == row.hash,
        follows=row.previous_hash == before and (older is not None or seq == 1),
        newer=seq + 1 if seq + 1 in rows else None,
        older=older.seq if older else None,
    )


def shown(row: AuditRow) -> ShownRow:
    """Return a row as a line of the page's table."""
    *cells, text = view(row)
    short = text if len(text) <= _TEXT_SHOWN else f"{text[: _TEXT_SHOWN - 1]}…"
    return ShownRow(row=row, cells=tuple(cells), text=short, payload=pretty(row))


def event_of(row: AuditRow) -> object:
    """Return a row's payload as a value; its text where it isn't JSON any more."""
    try:
        return json.loads(row.payload)
    except ValueError:
        return row.payload


def facts_of(row: AuditRow) -> Mapping[str, object]:
    """Return a row's own facts; none where its payload isn't what the node writes."""
    event = event_of(row)
    facts = event.get("payload") if isinstance(event, dict) else None
    return facts if isinstance(facts, dict) else {}


def pretty(row: AuditRow) -> str:
    """Return a row's payload with a line for each fact."""
    event = event_of(row)
    return event if isinstance(event, str) else json.dumps(event, indent=2, ensure_ascii=False)


def last_checked(connection: sa.Connection) -> AuditRow | None:
    """Return the event of the newest check that found the log whole."""
    page = audit.page(connection, AuditFilter(kind="log-verified"), size=1)
    return page.rows[0] if page.rows else None


def _record_search(services: Services, identity: Identity, search: Search) -> int:
    facts = {"filters": search.conditions.as_facts(), "order": search.order}
    return record(services, DicomEvent.LOG_USED, identity, AuditEvent(kind=READ, payload=facts))


def _parse_cursor(cursor: str) -> tuple[int | None, int | None]:
    if not cursor:
        return None, None
    under, _, after = cursor.partition("-")
    if all(part.isascii() and part.isdecimal() and len(part) <= _SEQ_DIGITS for part in (under, after)):
        return int(under), int(after)
    text = "That is no cursor that this log gave. Leave it out to begin with the first page."
    raise InvalidInputError(text, {"cursor": text})


def _is_this_search(services: Services, identity: Identity, search: Search, under: int) -> bool:
    """Tell whether the row ``under`` says that this account made this very search, within the hour before."""
    columns = audit_events.c
    query = sa.select(audit_events).where(columns.seq == under, columns.kind == READ)
    with reading(services.engine) as connection:
        found = connection.execute(query).first()
    if found is None or seconds_of(found.occurred_at) < time.time() - SEARCH_LASTS_S:
        return False
    facts = facts_of(AuditRow(**found._mapping))
    same = {"who": identity.user_name, "filters": search.conditions.as_facts(), "order": search.order}
    return all(facts.get(name) == value for name, value in same.items())
