"""Who was told of verdicts, who couldn't be, and telling them again."""

import time
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import RedirectResponse, Response

from medfake_pacs.console.errors import ConflictError
from medfake_pacs.console.queries.notifications import Conditions, notification_page, notification_section
from medfake_pacs.console.record import origin_of
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading, transaction
from medfake_pacs.notification import retry
from medfake_pacs.notification.wording import NOTIFICATION_COLUMNS, not_retried, notification_cells
from medfake_pacs.wording import NOTIFICATION_STATES

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.NODE_READ)]
Administrator = Annotated[Identity, requires(Permission.NODE_ACT)]
NotificationId = Annotated[int, Path(ge=1, le=2**63 - 1)]
_KINDS = {"waiting": "busy", "sent": "good", "dead": "bad"}


@router.get("/node/notifications")
def show(request: Request, services: Using, _identity: Reader, conditions: Conditions, retried: int = 0) -> Response:
    """Show the targets and a page of notifications, newest first."""
    with reading(services.engine) as connection:
        page = notification_page(connection, conditions)
        section = notification_section(connection, services.settings)
    filters = {"state": conditions.state, "target": conditions.target, "study": conditions.study}
    filters = {name: value for name, value in filters.items() if value}
    facts = {
        "notifications": section,
        "columns": NOTIFICATION_COLUMNS,
        "rows": [(row, notification_cells(row)) for row in page.rows],
        "conditions": conditions,
        "filtered": bool(filters),
        "states": [("", "any"), *NOTIFICATION_STATES.items()],
        "targets": [("", "any"), *((item.name, item.name) for item in section.targets)],
        "state_kinds": _KINDS,
        "newest": f"?{urlencode(filters)}" if conditions.before else "",
        "older": f"?{urlencode({**filters, 'before': page.older})}" if page.older else "",
        "retried": retried,
    }
    return services.templates.TemplateResponse(request, "notifications.html", facts)


@router.post("/node/notifications/{notification_id}/retry")
def retry_one(services: Using, identity: Administrator, notification_id: NotificationId) -> Response:
    """Have one notification sent again."""
    with transaction(services.engine) as connection:
        done = retry(connection, [notification_id], time.time(), **origin_of(identity))
    if not done:
        raise ConflictError(not_retried([notification_id], done)[0])
    return RedirectResponse(f"/node/notifications?retried={notification_id}", 303)
