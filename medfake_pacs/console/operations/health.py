"""For supervisors and load balancers: does the process answer, and can the node do its work?"""

import json
import tempfile
import threading
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse, Response

from medfake_pacs.config import Settings
from medfake_pacs.console.queries.processes import processes
from medfake_pacs.console.queries.storage import room
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading
from medfake_pacs.database.heartbeat import database_time
from medfake_pacs.database.migrate import is_current

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
_UNREADY = 503


@router.get("/healthz")
def health() -> Response:
    """Say that this process answers, whatever the rest of the node does."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
def ready(services: Using) -> Response:
    """Say whether the node can do its work, and if not, which part fails: by name and reason, without secrets."""
    failing = failures(services)
    body = {"ready": not failing, "failing": [{"check": name, "reason": reason} for name, reason in failing.items()]}
    return Response(json.dumps(body), _UNREADY if failing else 200, media_type="application/json")


def failures(services: Services) -> dict[str, str]:
    """Return the reason by the name of each check that fails."""
    found = _database(services)
    reason = _spool(services.settings)
    return found | ({"spool": reason} if reason else {})


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
