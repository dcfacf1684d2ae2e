"""Notifications of verdicts: who was told, who couldn't be, telling them again."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel

from medfake_pacs.console.errors import ConflictError
from medfake_pacs.console.openapi import problems
from medfake_pacs.console.queries.notifications import Conditions, NotificationPage, notification_page
from medfake_pacs.console.record import origin_of
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading, transaction
from medfake_pacs.notification import retry
from medfake_pacs.notification.wording import not_retried

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.NODE_READ)]
Administrator = Annotated[Identity, requires(Permission.NODE_ACT)]
NotificationId = Annotated[int, Path(ge=1, le=2**63 - 1, description="number of a notification, from the list")]


class Retried(BaseModel):
    """Which notification is to be sent at once."""

    notification_id: int


@router.get("/notifications")
def list_notifications(services: Using, _identity: Reader, conditions: Conditions) -> NotificationPage:
    """List notifications, newest first.

    Go on with `before` set to the page's `older`, until that is null.
    """
    with reading(services.engine) as connection:
        return notification_page(connection, conditions)


@router.post("/notifications/{notification_id}/retry", responses=problems(409))
def retry_notification(services: Using, identity: Administrator, notification_id: NotificationId) -> Retried:
    """Have a notification sent at once, as the same event.

    It must be waiting or dead. Its time to give up starts anew.
    """
    with transaction(services.engine) as connection:
        done = retry(connection, [notification_id], time.time(), **origin_of(identity))
    if not done:
        raise ConflictError(not_retried([notification_id], done)[0])
    return Retried(notification_id=notification_id)
