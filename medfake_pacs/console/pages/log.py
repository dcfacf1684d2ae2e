"""The log: search it, look at a row, export what was found, prove that it is whole."""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from medfake_pacs.audit.conditions import CONDITIONS
from medfake_pacs.audit.export import CHECK_EXPORT, VIEW
from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.log_check import LogCheck, log_check_of, stops_the_check
from medfake_pacs.console.queries import log, log_export, saved_searches
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading, transaction
from medfake_pacs.entities import VerdictLabel

router = APIRouter(lifespan=stops_the_check)
Using = Annotated[Services, Depends(services_of)]
Auditor = Annotated[Identity, requires(Permission.LOG_READ)]
Check = Annotated[LogCheck, Depends(log_check_of)]
_PAGE = "log"
_LARGEST_ID = 2**63 - 1
_ROWS_A_PAGE = 50
_VERDICTS = (("", "any"), *((label, label) for label in VerdictLabel))


@router.get("/log")
def show(request: Request, services: Using, identity: Auditor) -> Response:
    """Show the form and what the log holds of it."""
    return _answer(request, services, identity, log.read_search(request.query_params))


@router.post("/log/searches")
def save(
    request: Request,
    services: Using,
    identity: Auditor,
    query: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
) -> Response:
    """Keep under a name the search that ``query``, the page's own, means."""
    search = log.read_search(dict(parse_qsl(query)))
    try:
        with transaction(services.engine) as connection:
            saved_searches.save(connection, identity.user_id, _PAGE, name, search.address())
    except InvalidInputError as error:
        return _answer(request, services, identity, search, name=name, wrong=error.fields)
    return RedirectResponse(f"/log?{urlencode(search.address())}", 303)


@router.post("/log/searches/{search_id}/delete")
def forget(services: Using, identity: Auditor, search_id: Annotated[int, Path(ge=1, le=_LARGEST_ID)]) -> Response:
    """Delete a saved search."""
    with transaction(services.engine) as connection:
        saved_searches.forget(connection, identity.user_id, search_id)
    return RedirectResponse("/log", 303)


@router.get("/log/export")
def export(request: Request, services: Using, identity: Auditor, format: str = "csv") -> Response:
    """Stream everything that meets the conditions, with the hashes."""
    search = log.read_search(request.query_params)
    if format not in log_export.MEDIA_TYPES:
        search = log.wrongly(search, "format", f"choose from {', '.join(log_export.MEDIA_TYPES)}")
    if search.wrong:
        return _answer(request, services, identity, search)
    content = log_export.begin_export(services, identity, search.conditions, format)
    headers = {"Content-Disposition": f'attachment; filename="{log_export.file_name(format)}"'}
    return StreamingResponse(content, media_type=log_export.MEDIA_TYPES[format], headers=headers)


@router.get("/log/verify")
def show_check(request: Request, services: Using, _identity: Auditor, check: Check) -> Response:
    """Show how far the check is, or what the newest one came to."""
    with reading(services.engine) as connection:
        last = log.last_checked(connection)
    name = "partials/log_check.html" if request.headers.get("hx-request") else "log_verify.html"
    facts = {"check": check.state, "last": last, "facts": log.facts_of(last) if last else {}}
    return services.templates.TemplateResponse(request, name, facts)


@router.post("/log/verify")
def start_check(services: Using, identity: Auditor, check: Check) -> Response:
    """Begin a check of the whole log, unless one is running."""
    check.start(services, identity)
    return RedirectResponse("/log/verify", 303)


@router.get("/log/{seq}")
def show_row(request: Request, services: Using, identity: Auditor, seq: int) -> Response:
    """Show one row and its place in the chain."""
    link = log.look_at(services, identity, seq)
    facts = {"link": link, "row": link.row, "line": log.shown(link.row), "headings": VIEW}
    return services.templates.TemplateResponse(request, "log_row.html", facts)


def _answer(
    request: Request,
    services: Services,
    identity: Identity,
    search: log.Search,
    *,
    name: str = "",
    wrong: dict[str, str] | None = None,
) -> Response:
    """Show the page: without rows if the search needs a correction."""
    problems = {**search.wrong, **(wrong or {})}
    found = None
    if not search.wrong:
        found = log.find(services, identity, search, _ROWS_A_PAGE)
    with reading(services.engine) as connection:
        saved = saved_searches.saved(connection, identity.user_id, _PAGE)
    facts = {
        "search": search,
        "given": search.given,
        "wrong": problems,
        "conditions": CONDITIONS,
        "verdicts": _VERDICTS,
        "orders": log.ORDERS,
        "headings": VIEW,
        "lines": [log.shown(row) for row in found.rows] if found else [],
        "found": found,
        "name": name,
        "query": urlencode(search.address()),
        "next": urlencode(search.address(cursor=found.cursor)) if found and found.cursor else "",
        "saved": [(each, urlencode(each.conditions)) for each in saved],
        "check_export": CHECK_EXPORT,
    }
    return services.templates.TemplateResponse(request, "log.html", facts, status_code=422 if problems else 200)
