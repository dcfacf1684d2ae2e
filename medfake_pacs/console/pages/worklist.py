"""The worklist: studies as they arrive, found again by whatever is known of them."""

import time
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.queries import worklist
from medfake_pacs.console.queries.worklist_cursor import Cursor, parse_cursor
from medfake_pacs.console.queries.worklist_input import Asked, understand
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.console.viewing import log_worklist_search, log_worklist_view
from medfake_pacs.database import reading
from medfake_pacs.database.tables import studies

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.STUDIES_READ)]
ORDERS = (
    (worklist.Order.NEWEST, "newest received"),
    (worklist.Order.OLDEST, "oldest received"),
    (worklist.Order.PROBABILITY, "highest probability"),
    (worklist.Order.VERDICT_AT, "newest verdict"),
)
OVERDUE = (("", "any"), ("1h", "an hour"), ("6h", "six hours"), ("1d", "a day"), ("7d", "a week"))
_FIELDS = ("modality", "ae_title", "from", "to", "patient_id", "accession_number", "study_instance_uid")
_MAX_DIGITS = 16


@router.get("/worklist")
def show(request: Request, services: Using, identity: Reader) -> Response:
    """Show a page of studies, and the form that looks for others."""
    asked = _asked(request)
    if asked.wrong:
        facts = _form(services, asked) | {"rows": (), "pages": {}, "live": "", "reason": "wrong"}
        return services.templates.TemplateResponse(request, "worklist.html", facts, status_code=422)
    rows = _rows(request, services, identity, asked, refreshes=False)
    return services.templates.TemplateResponse(request, "worklist.html", _form(services, asked) | rows)


@router.get("/worklist/rows")
def rows(request: Request, services: Using, identity: Reader) -> Response:
    """Give the rows alone, as they are now."""
    asked = _asked(request)
    if asked.wrong:
        raise InvalidInputError("; ".join(f"{name}: {text}" for name, text in asked.wrong.items()), dict(asked.wrong))
    facts = _rows(request, services, identity, asked, refreshes=True)
    return services.templates.TemplateResponse(request, "worklist_rows.html", facts)


def _asked(request: Request) -> Asked:
    given = request.query_params
    names = (*_FIELDS, "no_verdict_for", "order")
    return understand({name: given.get(name, "") for name in names}, given.getlist("verdict"))


def _rows(
    request: Request, services: Services, identity: Identity, asked: Asked, *, refreshes: bool
) -> dict[str, object]:
    cursor = parse_cursor(request.query_params.get("cursor", ""))
    conditions = asked.conditions.as_facts()
    given = request.query_params.get("logged", "")
    logged = int(given) if given.isdecimal() and len(given) <= _MAX_DIGITS else None
    if conditions:
        # A first page that nobody refreshes is a search of its own.
        goes_on = refreshes or cursor is not None
        logged = log_worklist_search(services, identity, conditions, logged if goes_on else None)
    else:
        log_worklist_view(services, identity)
    with reading(services.engine) as connection:
        page = worklist.page_of_studies(connection, asked.conditions, asked.order, cursor, now=time.time())
        nothing = not page.rows and worklist.is_empty(connection)
    return {
        "rows": page.rows,
        "pages": {
            "previous": _address("/worklist", asked, page.previous, logged) if page.previous else "",
            "following": _address("/worklist", asked, page.following, logged) if page.following else "",
        },
        # Only the first page changes by itself.
        "live": "" if cursor else _address("/worklist/rows", asked, None, logged),
        "reason": "none yet" if nothing else "no match" if conditions else "none in this order",
        "order": asked.order,
    }


def _address(path: str, asked: Asked, cursor: Cursor | None, logged: int | None) -> str:
    """Return the address of the same search; only what is set goes into it."""
    pairs = [("verdict", verdict) for verdict in asked.conditions.verdicts]
    pairs += [(name, asked.values[name]) for name in (*_FIELDS, "no_verdict_for") if asked.values.get(name)]
    if asked.order is not worklist.Order.NEWEST:
        pairs.append(("order", asked.order))
    if cursor:
        pairs.append(("cursor", str(cursor)))
    if logged and asked.conditions.as_facts():
        pairs.append(("logged", str(logged)))
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _form(services: Services, asked: Asked) -> dict[str, object]:
    """Return what the form shows: what was typed, what is wrong with it, what may be chosen."""
    with reading(services.engine) as connection:
        modalities = worklist.choices(connection, studies.c.modality)
        senders = worklist.choices(connection, studies.c.calling_ae_title)
    senders = sorted({*senders, *(peer.ae_title for peer in services.settings.peers)})
    more = ("accession_number", "study_instance_uid", "no_verdict_for", "ae_title")
    return {
        "values": asked.values,
        "wrong": asked.wrong,
        "chosen": asked.verdicts,
        "verdicts": worklist.VERDICTS,
        "modalities": _options(modalities, asked.values, "modality"),
        "senders": _options(senders, asked.values, "ae_title"),
        "orders": ORDERS,
        "overdue": OVERDUE,
        "order": asked.order,
        "searched": bool(asked.conditions.as_facts()) or bool(asked.wrong),
        "more": any(asked.values.get(name) for name in more),
    }


def _options(values: list[str], given: Mapping[str, str], name: str) -> list[tuple[str, str]]:
    """Return what may be chosen; a value that was asked for stays, also where no study has it."""
    extra = [given[name]] if given.get(name) and given[name] not in values else []
    return [("", "any"), *((value, value) for value in (*values, *extra))]
