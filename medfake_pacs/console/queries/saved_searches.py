"""Searches that an account keeps under a name; nobody sees another's."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from medfake_pacs.console.errors import InvalidInputError, NotFoundError
from medfake_pacs.database.console_tables import saved_searches

_MOST = 50
_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSearch:
    """One search; ``conditions`` are the values of its form, by name."""

    search_id: int
    name: str
    conditions: Mapping[str, str]


def saved(connection: sa.Connection, user_id: int, page: str) -> tuple[SavedSearch, ...]:
    """Return the account's searches on a page, by name."""
    columns = saved_searches.c
    query = sa.select(columns.search_id, columns.name, columns.conditions)
    query = query.where(columns.user_id == user_id, columns.page == page).order_by(columns.name).limit(_MOST)
    return tuple(SavedSearch(**row._mapping) for row in connection.execute(query))


def save(connection: sa.Connection, user_id: int, page: str, name: str, conditions: Mapping[str, str]) -> None:
    """Keep a search; one of the same name is replaced.

    Raises
    ------
    InvalidInputError
        If the name is missing or too long, or the account has very many.
    """
    name = name.strip()
    if not name or len(name) > _NAME_LENGTH or not name.isprintable():
        text = f"A name has 1 to {_NAME_LENGTH} characters." if name else "Give the search a name."
        raise InvalidInputError(text, {"name": text})
    mine = sa.and_(saved_searches.c.user_id == user_id, saved_searches.c.page == page)
    connection.execute(sa.delete(saved_searches).where(mine, saved_searches.c.name == name))
    count = connection.execute(sa.select(sa.func.count()).select_from(saved_searches).where(mine)).scalar_one()
    if count >= _MOST:
        text = f"You have {_MOST} saved searches, which is the most that are kept. Delete one first."
        raise InvalidInputError(text, {"name": text})
    row = {"user_id": user_id, "page": page, "name": name, "conditions": dict(conditions), "created_at": time.time()}
    connection.execute(sa.insert(saved_searches).values(row))


def forget(connection: sa.Connection, user_id: int, search_id: int) -> None:
    """Delete one of the account's searches.

    Raises
    ------
    NotFoundError
        If the account has no such search.
    """
    mine = sa.and_(saved_searches.c.user_id == user_id, saved_searches.c.search_id == search_id)
    if connection.execute(sa.delete(saved_searches).where(mine)).rowcount == 0:
        raise NotFoundError("You have no such saved search. It may be deleted already.")
