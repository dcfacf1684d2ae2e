"""Statistics: how many studies, what the models said of them, whether the scores drift, what has no verdict."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from medfake_pacs.console.errors import InvalidInputError
from medfake_pacs.console.queries.drift import drift, installed_cards
from medfake_pacs.console.queries.statistics import DayCache, Period, day_cache_of, read_period, start_of, statistics
from medfake_pacs.console.queries.unassessed import overdue_after_s, unassessed
from medfake_pacs.console.rendering import statistics_plots as plots
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission
from medfake_pacs.console.services import Services, services_of
from medfake_pacs.console.viewing import log_statistics_view
from medfake_pacs.database import reading

router = APIRouter()
Using = Annotated[Services, Depends(services_of)]
Auditor = Annotated[Identity, requires(Permission.LOG_READ)]
Cache = Annotated[DayCache, Depends(day_cache_of)]


@router.get("/statistics")
def show(
    request: Request, services: Using, identity: Auditor, cache: Cache, since: str = "", until: str = ""
) -> Response:
    """Show the counts of a span of days, the newest scores, and what waits too long."""
    now = time.time()
    facts: dict[str, Any] = {"since": since, "until": until, "wrong": {}, "plots": [], "total": 0, "models": []}
    facts |= {"waiting": [], "overdue_s": overdue_after_s(services.settings.completion)}
    try:
        period = read_period(since, until, datetime.fromtimestamp(now, UTC).date())
    except InvalidInputError as error:
        facts["wrong"] = error.fields
        return services.templates.TemplateResponse(request, "statistics.html", facts, status_code=422)
    facts |= {
        "since": period.since.isoformat(),
        "until": period.until.isoformat(),
        **_found(services, cache, period, now),
    }
    log_statistics_view(services, identity, len(facts["waiting"]))
    return services.templates.TemplateResponse(request, "statistics.html", facts)


def _found(services: Services, cache: DayCache, period: Period, now: float) -> dict[str, object]:
    with reading(services.engine) as connection:
        counts = statistics(connection, cache, period, now)
        found = [drift(connection, card, start_of(period.since)) for card in installed_cards(services.settings)]
        waiting = unassessed(connection, services.settings.completion, now)
    drawn = (plots.by_day, plots.by_verdict, plots.by_model, plots.by_source)
    return {
        "total": counts.total,
        "plots": [draw(counts) for draw in drawn] if counts.total else [],
        "models": [(each, plots.of_drift(each)) for each in found],
        "waiting": waiting.studies,
        "waiting_more": waiting.more,
    }
