"""The node at a glance, C-ECHO, and the configuration in force."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from medfake_pacs.console.acting import echo_destination
from medfake_pacs.console.queries.configuration import configuration_state
from medfake_pacs.console.queries.models import ModelState, models_of
from medfake_pacs.console.queries.node import node_state
from medfake_pacs.console.queries.notifications import notification_section
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.database import reading
from medfake_pacs.delivery.wording import CIRCUIT_COLUMNS

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Reader = Annotated[Identity, requires(Permission.NODE_READ)]
Administrator = Annotated[Identity, requires(Permission.NODE_ACT)]


@router.get("/node")
def show(
    request: Request, services: Using, _identity: Reader, models: Annotated[list[ModelState], Depends(models_of)]
) -> Response:
    """Show every part of the node."""
    with reading(services.engine) as connection:
        node = node_state(connection, services.settings, models)
        notifications = notification_section(connection, services.settings)
    facts = {"node": node, "circuit_columns": CIRCUIT_COLUMNS, "notifications": notifications}
    return services.templates.TemplateResponse(request, "node.html", facts)


@router.get("/node/configuration")
def show_configuration(request: Request, services: Using, _identity: Reader) -> Response:
    """Show the configuration in force, its secrets masked."""
    with reading(services.engine) as connection:
        state = configuration_state(connection, services.settings, services.config_path)
    return services.templates.TemplateResponse(request, "node_configuration.html", {"state": state})


@router.post("/node/destinations/{name:path}/echo")
def echo(request: Request, services: Using, identity: Administrator, name: str) -> Response:
    """C-ECHO a destination and show what came of it."""
    outcome = echo_destination(services, identity, name)
    partial = bool(request.headers.get("hx-request"))
    template = "partials/node_echo.html" if partial else "node_echo.html"
    return services.templates.TemplateResponse(request, template, {"outcome": outcome})
