"""The node as JSON: its parts, its destinations, C-ECHO, the rule tester."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from medfake_pacs.console.acting import echo_destination
from medfake_pacs.console.queries.facts import Fact
from medfake_pacs.console.queries.models import ModelState, models_of
from medfake_pacs.console.queries.node import NodeState, destination_states, node_state
from medfake_pacs.console.queries.node_parts import DestinationState
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading
from medfake_pacs.entities import ImageAttributes
from medfake_pacs.route_testing import explain_route

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.NODE_READ)]
Administrator = Annotated[Identity, requires(Permission.NODE_ACT)]
Short = Annotated[str, Field(max_length=256)]


class EchoResult(Fact):
    """What came of a C-ECHO."""

    destination: str
    answered: Annotated[bool, Field(description="whether it answered with Success")]
    text: Annotated[str, Field(description="the same in words, with the reason if it didn't")]
    elapsed_ms: float


class RouteTestRequest(BaseModel):
    """The attributes of an image that routes look at; what is left out is taken to be absent."""

    model_config = ConfigDict(extra="forbid")

    calling_ae_title: Annotated[str, Field(max_length=16, description="left out: the first peer's")] = ""
    called_ae_title: Annotated[str, Field(max_length=16, description="left out: the node's")] = ""
    modality: Annotated[Short, Field(description="Modality (0008,0060)")] = ""
    body_part: Annotated[Short, Field(description="Body Part Examined (0018,0015)")] = ""
    study_description: Annotated[Short, Field(description="Study Description (0008,1030)")] = ""
    series_description: Annotated[Short, Field(description="Series Description (0008,103E)")] = ""


class RouteTestResult(Fact):
    """Which route such an image takes, and why."""

    lines: Annotated[tuple[str, ...], Field(description="what `medfake-pacs route-test` prints")]
    route: Annotated[str, Field(description="empty if none matches")]
    model: Annotated[str, Field(description="empty if it is not assessed")]
    reason: Annotated[str, Field(description="why it is not assessed; empty if it is")]
    send_to: Annotated[tuple[str, ...], Field(description="the destinations of its report")]


@router.get("/node", summary="The node at a glance")
def node(services: Using, _identity: Reader, models: Annotated[list[ModelState], Depends(models_of)]) -> NodeState:
    """Return the state of every part, in words and figures. Big tables are counted up to a bound only."""
    with reading(services.engine) as connection:
        return node_state(connection, services.settings, models)


@router.get("/destinations", summary="Where reports go")
def destinations(services: Using, _identity: Reader) -> list[DestinationState]:
    """Return each configured destination with its circuit, what waits for it and its dead letters."""
    with reading(services.engine) as connection:
        return destination_states(connection, services.settings)


@router.post("/destinations/{name:path}/echo", summary="C-ECHO a destination")
def echo(services: Using, identity: Administrator, name: str) -> EchoResult:
    """Open an association to the destination, verify it, and log the outcome. It takes up to about ten seconds."""
    outcome = echo_destination(services, identity, name)
    return EchoResult(
        destination=name, answered=outcome.answered, text=outcome.text, elapsed_ms=outcome.elapsed_ms
    )  # fmt: skip


@router.post("/route-test", summary="Which route would an image take?")
def route_test(services: Using, _identity: Reader, image: RouteTestRequest) -> RouteTestResult:
    """Explain route by route what an image with these attributes would meet. Nothing is stored."""
    attributes = ImageAttributes(
        sop_class_uid="",
        sop_instance_uid="",
        study_instance_uid="",
        series_instance_uid="",
        modality=image.modality,
        body_part=image.body_part,
        study_description=image.study_description,
        series_description=image.series_description,
    )
    tested = explain_route(
        services.settings, attributes, calling=image.calling_ae_title.strip(), called=image.called_ae_title.strip()
    )
    return RouteTestResult(
        lines=tested.lines, route=tested.route, model=tested.model, reason=tested.reason, send_to=tested.send_to
    )
