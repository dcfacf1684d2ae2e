"""The outgoing queue and the dead letters as JSON."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from medfake_pacs.console.acting import dismiss_delivery, retry_deliveries
from medfake_pacs.console.errors import NotFoundError
from medfake_pacs.console.openapi import problems
from medfake_pacs.console.queries.facts import Fact
from medfake_pacs.console.queries.outgoing import PAGE_ROWS, Conditions, Cursor, delivery_page
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading
from medfake_pacs.delivery.listing import Attempt, ListedDelivery, delivery_with_attempts
from medfake_pacs.delivery.wording import dismissed, retried

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.NODE_READ)]
Administrator = Annotated[Identity, requires(Permission.NODE_ACT)]
DeliveryId = Annotated[int, Path(ge=1, le=2**63 - 1, description="number of a delivery")]
_MOST_ROWS = 500


class DeliveryAttempt(Fact):
    """One attempt to send."""

    number: int
    attempted_at: Annotated[float, Field(description="seconds since the epoch, UTC")]
    sop_class_uid: str
    status: Annotated[int | None, Field(description="DIMSE status; none where no answer came")]
    succeeded: bool
    comment: str
    sent_sop_instance_uid: Annotated[str, Field(description="the object on the wire; empty if nothing was sent")]


class DeliveryState(Fact):
    """One report for one destination; times are seconds since the epoch, UTC."""

    delivery_id: int
    report_uid: str
    study_instance_uid: str
    destination: str
    state: Annotated[str, Field(description="waiting, sent, dead or dismissed")]
    attempts: int
    created_at: Annotated[float, Field(description="when it was queued, or put back")]
    next_attempt_at: float
    finished_at: float | None
    last_status: Annotated[int | None, Field(description="DIMSE status; none where no answer came")]
    last_comment: str


class DeliveryDetail(DeliveryState):
    """One delivery with its last attempts, in order."""

    history: tuple[DeliveryAttempt, ...]


class DeliveryList(Fact):
    """A page of deliveries, newest first."""

    deliveries: tuple[DeliveryState, ...]
    newer: Annotated[int | None, Field(description="ask with after=... for the page before; none if there is none")]
    older: Annotated[int | None, Field(description="ask with before=... for the next page; none at the end")]


class Retried(Fact):
    """What was put back."""

    delivery_ids: tuple[int, ...]
    text: Annotated[str, Field(description="the same in words")]


class Dismissed(Fact):
    """What was dismissed."""

    delivery_ids: tuple[int, ...]
    text: Annotated[str, Field(description="the same in words")]


@router.get("/deliveries", summary="The outgoing queue")
def deliveries(
    services: Using,
    _identity: Reader,
    conditions: Conditions,
    cursor: Cursor,
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS, description="how many at most")] = PAGE_ROWS,
) -> DeliveryList:
    """Return the deliveries that meet every condition, those queued last first."""
    with reading(services.engine) as connection:
        page = delivery_page(connection, conditions, cursor, limit)
    return DeliveryList(deliveries=tuple(map(_state, page.rows)), newer=page.newer, older=page.older)


@router.get("/deliveries/{delivery_id}", summary="One delivery and its attempts")
def delivery(services: Using, _identity: Reader, delivery_id: DeliveryId) -> DeliveryDetail:
    """Return a delivery with each attempt and its reason."""
    with reading(services.engine) as connection:
        row = delivery_with_attempts(connection, delivery_id)
    if row is None:
        raise NotFoundError(f"No delivery has the number {delivery_id}.")
    return DeliveryDetail(**_state(row).model_dump(), history=tuple(map(_attempt, row.history)))


@router.post("/deliveries/{delivery_id}/retry", summary="Send a delivery again", responses=problems(409))
def retry(services: Using, identity: Administrator, delivery_id: DeliveryId) -> Retried:
    """Have a waiting, dead or dismissed delivery tried at once; the log keeps who asked for it."""
    outcome = retry_deliveries(services, identity, [delivery_id])
    return Retried(delivery_ids=outcome.done, text=retried(outcome))


@router.post("/deliveries/{delivery_id}/dismiss", summary="Dismiss a dead letter", responses=problems(409))
def dismiss(services: Using, identity: Administrator, delivery_id: DeliveryId) -> Dismissed:
    """Put a dead letter aside: it isn't reported as a problem any more. The log keeps who asked for it."""
    done = dismiss_delivery(services, identity, delivery_id)
    return Dismissed(delivery_ids=tuple(done), text=dismissed(done))


def _state(row: ListedDelivery) -> DeliveryState:
    return DeliveryState(**{name: getattr(row, name) for name in DeliveryState.model_fields})


def _attempt(attempt: Attempt) -> DeliveryAttempt:
    return DeliveryAttempt(**{name: getattr(attempt, name) for name in DeliveryAttempt.model_fields})
