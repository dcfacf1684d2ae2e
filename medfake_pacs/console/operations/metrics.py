"""What Prometheus scrapes: counters by kind of event, and how much waits where and for how long."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from medfake_pacs.console.operations.node_collector import NodeCollector
from medfake_pacs.console.queries.models import shelf_of
from medfake_pacs.console.remembered import Answer
from medfake_pacs.console.services import services_of

router = APIRouter()
_OK = 200


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return every metric in Prometheus' text format."""
    registry = _registry_of(request)
    answer = await services_of(request).answers.get("metrics", lambda: Answer(_OK, generate_latest(registry)))
    return Response(answer.content, answer.status, media_type=CONTENT_TYPE_LATEST)


def _registry_of(request: Request) -> CollectorRegistry:
    """Return the application's registry; the first request makes it."""
    state = request.app.state
    if not hasattr(state, "metrics"):
        registry = CollectorRegistry()
        registry.register(NodeCollector(services_of(request), shelf_of(request)))
        state.metrics = registry
    assert isinstance(state.metrics, CollectorRegistry)
    return state.metrics
