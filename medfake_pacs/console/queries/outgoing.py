"""A page of the outgoing queue by its conditions, for page and REST API."""

from typing import Annotated, Literal

import sqlalchemy as sa
from fastapi import Depends, Query
from pydantic import Field

from medfake_pacs.console.queries.facts import Fact
from medfake_pacs.delivery.listing import ListedDelivery, newest
from medfake_pacs.wording import DELIVERY_STATES

PAGE_ROWS = 50
_NUMBER = 2**63 - 1


class DeliveryConditions(Fact):
    """Which deliveries to show; an empty condition always holds."""

    state: Literal["", "waiting", "sent", "dead", "dismissed"] = ""
    destination: str = ""
    study: str = ""


class DeliveryCursor(Fact):
    """Where a page begins: at the deliveries queued before, or after, the one of this number."""

    before: int | None = None
    after: int | None = None


class DeliveryPage(Fact):
    """A page, newest first; ``newer`` and ``older`` are the numbers to go on from, None at the end."""

    rows: Annotated[tuple[ListedDelivery, ...], Field(description="newest first")]
    newer: int | None
    older: int | None


def conditions_of(
    state: Annotated[
        Literal["", "waiting", "sent", "dead", "dismissed"],
        Query(description="waiting, sent, dead or dismissed; empty: any"),
    ] = "",
    destination: Annotated[str, Query(max_length=64, description="name of a destination")] = "",
    study: Annotated[str, Query(max_length=64, description="Study Instance UID")] = "",
) -> DeliveryConditions:
    """Return the conditions of a request; use as a dependency."""
    return DeliveryConditions(state=state, destination=destination.strip(), study=study.strip())


def cursor_of(
    before: Annotated[int | None, Query(ge=1, le=_NUMBER, description="only those queued before this one")] = None,
    after: Annotated[int | None, Query(ge=0, le=_NUMBER, description="only those queued after this one")] = None,
) -> DeliveryCursor:
    """Return the cursor of a request; use as a dependency."""
    return DeliveryCursor(before=before, after=after)


Conditions = Annotated[DeliveryConditions, Depends(conditions_of)]
Cursor = Annotated[DeliveryCursor, Depends(cursor_of)]


def delivery_page(
    connection: sa.Connection, conditions: DeliveryConditions, cursor: DeliveryCursor, limit: int = PAGE_ROWS
) -> DeliveryPage:
    """Return the page that the cursor points to."""
    found = newest(
        connection,
        state=conditions.state,
        destination=conditions.destination,
        study=conditions.study,
        before=cursor.before,
        after=cursor.after,
        limit=limit + 1,
    )
    more = len(found) > limit
    upwards = cursor.after is not None
    rows = (found[1:] if upwards else found[:limit]) if more else found
    has_newer = more if upwards else cursor.before is not None
    has_older = True if upwards else more
    return DeliveryPage(
        rows=tuple(rows),
        newer=rows[0].delivery_id if rows and has_newer else None,
        older=rows[-1].delivery_id if rows and has_older else None,
    )


def state_words() -> dict[str, tuple[str, str]]:
    """Return each state's word for people and its kind for the badge."""
    kinds = {"waiting": "busy", "sent": "good", "dead": "bad", "dismissed": "plain"}
    return {state: (word, kinds[state]) for state, word in DELIVERY_STATES.items()}
