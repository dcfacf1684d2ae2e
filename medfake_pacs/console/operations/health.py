"""For supervisors and load balancers: does the process answer, and can the node do its work?"""

import json
import tempfile
import threading
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response

from medfake_pacs.config import Settings
from medfake_pacs.console.queries.models import Shelf, shelf_of
from medfake_pacs.console.queries.processes import processes
from medfake_pacs.console.queries.storage import room
from medfake_pacs.console.remembered import Answer
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading
from medfake_pacs.database.heartbeat import database_time
from medfake_pacs.database.migrate import is_current

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
_READY, _UNREADY = 200, 503


@router.get("/healthz")
async def health() -> Response:
    """Say that this process answers, whatever the rest of the node does, and however busy its threads are."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
async def ready(request: Request, services: Using) -> Response:
    """Say whether the node can do its work, and if not, which part fails: by name and reason, without secrets."""
    shelf = shelf_of(request)
    answer = await services.answers.get("readyz", lambda: _readiness(services, shelf))
    return Response(answer.content, answer.status, media_type="application/json")


def _readiness(services: Services, shelf: Shelf) -> Answer:
    failing = failures(services, shelf)
    body = {"ready": not failing, "failing": [{"check": name, "reason": reason} for name, reason in failing.items()]}
    return Answer(_UNREADY if failing else _READY, json.dumps(body).encode())


def failures(services: Services, shelf: Shelf) -> dict[str, str]:
    """Return the reason by the name of each check that fails."""
    found = _database(services)
    reasons = {"spool": _spool(services.settings), "models": _models(services.settings, shelf)}
    return found | {name: reason for name, reason in reasons.items() if reason}


def _database(services: Services) -> dict[str, str]:
    try:
        if not is_current(services.engine):
            return {"migrations": "the tables are not those of this version; start the node to bring them up to date"}
        with reading(services.engine) as connection:
            now = database_time(connection)
            seen = processes(connection, services.settings, now)
    except sa.exc.SQLAlchemyError as error:
        return {"database": f"it doesn't answer ({type(error).__name__})"}
    found = {}
    for role, plural in (("receiver", "receivers"), ("worker", "workers")):
        mine = [item for item in seen if item.role == role]
        silent = [item.name for item in mine if not item.alive and item.node == services.settings.node_id]
        if not any(item.alive for item in mine):
            found[plural] = f"no {role} has given a sign of life lately"
        elif silent:
            found[plural] = f"silent: {', '.join(silent)}"
    return found


def _models(settings: Settings, shelf: Shelf) -> str:
    """Return which models that routes name can't be used; a folder whose files are the same isn't read again."""
    named = {route.model for route in settings.routes if route.model}
    found = shelf.models(settings)
    usable = {item.name for item in found if not item.error}
    damaged = named & {item.folder for item in found if item.error}
    said = [f"{name!r} is {'damaged' if name in damaged else 'not installed'}" for name in sorted(named - usable)]
    return f"a route names what can't be used: {', '.join(said)}" if said else ""


def _spool(settings: Settings) -> str:
    free, _total = room(settings)
    if free is None:
        return "its folder can't be seen"
    if free < settings.spool.min_free_bytes:
        return "less room than spool.min_free_bytes"
    try:
        with tempfile.TemporaryFile(prefix=f"ready-{threading.get_ident()}-", dir=settings.checks_dir):
            return ""
    except OSError as error:
        return f"it can't be written ({error.strerror})"
