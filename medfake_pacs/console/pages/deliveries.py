"""The outgoing queue and the dead letters, sending them again and dismissing them."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from medfake_pacs.console.acting import dismiss_delivery, retry_deliveries
from medfake_pacs.console.errors import NotFoundError
from medfake_pacs.console.queries.facts import count
from medfake_pacs.console.queries.outgoing import Conditions, Cursor, delivery_page, state_words
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading
from medfake_pacs.delivery.listing import ListedDelivery, delivery_with_attempts, matching
from medfake_pacs.delivery.wording import (
    DELIVERY_COLUMNS,
    HOMELESS_REMEDY,
    attempt_cells,
    delivery_cells,
    dismissed,
    not_retried,
    retried,
)

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.NODE_READ)]
Administrator = Annotated[Identity, requires(Permission.NODE_ACT)]
DeliveryId = Annotated[int, Path(ge=1, le=2**63 - 1)]
_DEAD = "dead"


@router.get("/node/deliveries")
def show(
    request: Request, services: Using, _identity: Reader, conditions: Conditions, cursor: Cursor
) -> Response:  # fmt: skip
    """Show a page of deliveries, those queued last first."""
    with reading(services.engine) as connection:
        page = delivery_page(connection, conditions, cursor)
    known = [item.name for item in services.settings.destinations]
    if conditions.destination and conditions.destination not in known:
        known.append(conditions.destination)
    filters = {name: value for name, value in conditions.model_dump().items() if value}
    facts = {
        "rows": [(row, delivery_cells(row)) for row in page.rows],
        "columns": DELIVERY_COLUMNS,
        "conditions": conditions,
        "destinations": known,
        "states": state_words(),
        "newer": f"?{urlencode({**filters, 'after': page.newer})}" if page.newer else "",
        "older": f"?{urlencode({**filters, 'before': page.older})}" if page.older else "",
    }
    return services.templates.TemplateResponse(request, "deliveries.html", facts)


@router.get("/node/deliveries/retry")
def ask(
    request: Request, services: Using, _identity: Administrator, destination: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """Ask whether every dead letter of a destination is to be sent again."""
    with reading(services.engine) as connection:
        number = count(connection, matching(_DEAD, destination, ""))
    facts = {"destination": destination, "number": number}
    return services.templates.TemplateResponse(request, "deliveries_ask.html", facts)


@router.post("/node/deliveries/retry")
def retry_dead(
    request: Request, services: Using, identity: Administrator, destination: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """Send every dead letter of a destination again."""
    outcome = retry_deliveries(services, identity, None, destination or None)
    facts = {"text": retried(outcome), "refused": not_retried((), outcome), "destination": destination, "state": ""}
    return services.templates.TemplateResponse(request, "deliveries_retried.html", facts)


@router.get("/node/deliveries/{delivery_id}")
def show_one(request: Request, services: Using, _identity: Reader, delivery_id: DeliveryId) -> Response:
    """Show one delivery with its attempts."""
    row = _delivery(services, delivery_id)
    known = any(item.name == row.destination for item in services.settings.destinations)
    facts = {
        "homeless": "" if known else f"No destination is named {row.destination!r} any more; {HOMELESS_REMEDY}.",
        "row": row,
        "cells": list(zip(DELIVERY_COLUMNS, delivery_cells(row), strict=True)),
        "attempts": [(attempt, attempt_cells(attempt)) for attempt in reversed(row.history)],
        "states": state_words(),
    }
    return services.templates.TemplateResponse(request, "deliveries_one.html", facts)


@router.post("/node/deliveries/{delivery_id}/retry")
def retry_one(request: Request, services: Using, identity: Administrator, delivery_id: DeliveryId) -> Response:
    """Send one delivery again."""
    outcome = retry_deliveries(services, identity, [delivery_id])
    facts = {"text": retried(outcome), "refused": (), "destination": "", "state": ""}
    return services.templates.TemplateResponse(request, "deliveries_retried.html", facts)


@router.get("/node/deliveries/{delivery_id}/dismiss")
def ask_to_dismiss(request: Request, services: Using, _identity: Administrator, delivery_id: DeliveryId) -> Response:
    """Ask whether a dead letter is to be dismissed."""
    facts = {"row": _delivery(services, delivery_id)}
    return services.templates.TemplateResponse(request, "deliveries_dismiss.html", facts)


@router.post("/node/deliveries/{delivery_id}/dismiss")
def dismiss_one(request: Request, services: Using, identity: Administrator, delivery_id: DeliveryId) -> Response:
    """Dismiss a dead letter."""
    done = dismiss_delivery(services, identity, delivery_id)
    facts = {"text": dismissed(done), "refused": (), "destination": "", "state": "dead"}
    return services.templates.TemplateResponse(request, "deliveries_retried.html", facts)


def _delivery(services: Services, delivery_id: int) -> ListedDelivery:
    with reading(services.engine) as connection:
        row = delivery_with_attempts(connection, delivery_id)
    if row is None:
        raise NotFoundError(f"No delivery has the number {delivery_id}. Look for it among the deliveries.")
    return row
