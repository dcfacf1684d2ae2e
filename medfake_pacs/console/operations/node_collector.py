"""The node's metrics, looked up at each scrape by queries that an index serves and a bound ends."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from medfake_pacs import __version__
from medfake_pacs.console.operations.event_counts import EventCounts
from medfake_pacs.console.queries.facts import count
from medfake_pacs.console.queries.models import Shelf
from medfake_pacs.console.queries.processes import open_associations, processes
from medfake_pacs.console.queries.queue import dead_letters, queues
from medfake_pacs.console.queries.storage import database_bytes, room
from medfake_pacs.console.services import Services
from medfake_pacs.database import reading
from medfake_pacs.database.console_tables import checks, notifications
from medfake_pacs.database.heartbeat import database_time
from medfake_pacs.database.tables import deliveries, instances, revisions, studies
from medfake_pacs.delivery import CircuitState, circuit_of

# A queue that is longer counts as this long.
_COUNT_LIMIT = 100_000
_log = logging.getLogger(__name__)

# Every metric with what it says; operations.md has the same table.
METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "medfake_build_info": ("Always 1; the version of the software", ("version",)),
        "medfake_model_info": ("Always 1 for each model that is installed", ("name", "version", "model_sha256")),
        "medfake_up": ("1 if the database answered this scrape, else 0", ()),
        "medfake_events_total": ("Events in the log", ("kind",)),
        "medfake_studies": ("Studies in work", ("state",)),
        "medfake_instances": ("Images in work", ("state",)),
        "medfake_deliveries": ("Reports that are not sent", ("destination", "state")),
        "medfake_checks": ("Uploads in work", ("state",)),
        "medfake_notifications": ("Notifications that are not sent", ("state",)),
        "medfake_queue_oldest_age_seconds": ("How long the oldest of a queue waits; 0: it is empty",
                                             ("queue", "destination")),
        "medfake_destination_circuit_open": ("1 while reports to a destination are held back", ("destination",)),
        "medfake_heartbeat_age_seconds": ("Since a process' last sign of life", ("node", "process", "role")),
        "medfake_open_associations": ("Associations that are open", ()),
        "medfake_spool_free_bytes": ("Room on the spool's filesystem", ()),
        "medfake_spool_min_free_bytes": ("With less room senders get A700", ()),
        "medfake_database_bytes": ("Size of the database", ()),
    }
)  # fmt: skip


class NodeCollector:
    """Looks the metrics up whenever it is asked."""

    def __init__(self, services: Services, shelf: Shelf) -> None:
        self._services = services
        self._shelf = shelf
        self._events = EventCounts(services.engine)

    def describe(self) -> Iterable[Metric]:
        """Return no description, so that registering asks the database nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; without a database only what needs none, and ``medfake_up`` 0."""
        build = _gauge("medfake_build_info")
        build.add_metric([__version__], 1)
        yield build
        yield self._models()
        yield from self._disk()
        up = _gauge("medfake_up")
        try:
            found = list(self._of_database())
        except (sa.exc.SQLAlchemyError, OSError) as error:
            _log.error("metrics can't be looked up", extra={"reason": type(error).__name__})
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from found

    def _models(self) -> Metric:
        info = _gauge("medfake_model_info")
        for item in self._shelf.models(self._services.settings):
            if not item.error:
                info.add_metric([item.name, item.version, item.model_sha256], 1)
        return info

    def _disk(self) -> Iterator[Metric]:
        free, _total = room(self._services.settings)
        if free is not None:
            yield _single("medfake_spool_free_bytes", free)
        yield _single("medfake_spool_min_free_bytes", self._services.settings.spool.min_free_bytes)

    def _of_database(self) -> Iterator[Metric]:
        counts = self._events.current()
        if counts is not None:
            documentation, labels = METRICS["medfake_events_total"]
            family = CounterMetricFamily("medfake_events", documentation, labels=labels)
            for kind, number in sorted(counts.items()):
                family.add_metric([kind], number)
            yield family
        with reading(self._services.engine) as connection:
            now = database_time(connection)
            yield from _work(connection)
            yield from self._queues(connection, now)
            yield from self._alive(connection, now)
            size = database_bytes(connection)
            if size is not None:
                yield _single("medfake_database_bytes", size)

    def _queues(self, connection: sa.Connection, now: float) -> Iterator[Metric]:
        settings = self._services.settings
        names = [item.name for item in settings.destinations]
        ages, sending = _gauge("medfake_queue_oldest_age_seconds"), _gauge("medfake_deliveries")
        found = queues(connection, names, max_wait_s=settings.completion.max_wait_s, limit=1)
        for queue in found:
            age_s = 0.0 if queue.oldest_at is None else max(0.0, now - queue.oldest_at)
            ages.add_metric([queue.name, queue.destination], age_s)
        for name in (queue.destination for queue in found if queue.name == "reports"):
            waiting = sa.select(deliveries.c.delivery_id).where(
                deliveries.c.state == "waiting", deliveries.c.destination == name
            )
            sending.add_metric([name, "waiting"], count(connection, waiting, _COUNT_LIMIT).value)
        for letters in dead_letters(connection, names, _COUNT_LIMIT):
            sending.add_metric([letters.destination, "dead"], letters.count.value)
        circuits = _gauge("medfake_destination_circuit_open")
        for item in settings.destinations:
            is_closed = circuit_of(connection, item.name, item.retry, now).state is CircuitState.CLOSED
            circuits.add_metric([item.name], int(not is_closed))
        yield from (ages, sending, circuits)

    def _alive(self, connection: sa.Connection, now: float) -> Iterator[Metric]:
        ages = _gauge("medfake_heartbeat_age_seconds")
        for item in processes(connection, self._services.settings, now):
            if item.age_s is not None:
                ages.add_metric([item.node, item.name, item.role], item.age_s)
        yield ages
        yield _single("medfake_open_associations", open_associations(connection, now)[0].value)


def _work(connection: sa.Connection) -> Iterator[Metric]:
    """Yield how much is in work. What is done is in ``medfake_events_total``: nothing counts a whole table."""
    arriving = sa.select(studies.c.opened_at).where(studies.c.opened_at.is_not(None))
    assessing = sa.select(revisions.c.state).where(revisions.c.state == "completed")
    yield _states(connection, "medfake_studies", {"arriving": arriving, "assessing": assessing})
    yield _states(connection, "medfake_instances", _by_state(instances.c.state, ("received", "queued")))
    yield _states(connection, "medfake_checks", _by_state(checks.c.state, ("waiting", "running")))
    yield _states(connection, "medfake_notifications", _by_state(notifications.c.state, ("waiting", "dead")))


def _by_state(column: sa.Column[str], names: Iterable[str]) -> dict[str, sa.Select[tuple[str]]]:
    return {name: sa.select(column).where(column == name) for name in names}


def _states(
    connection: sa.Connection, metric: str, rows: Mapping[str, sa.Select[tuple[object]]]
) -> GaugeMetricFamily:  # fmt: skip
    family = _gauge(metric)
    for state, query in rows.items():
        family.add_metric([state], count(connection, query, _COUNT_LIMIT).value)
    return family


def _gauge(name: str) -> GaugeMetricFamily:
    documentation, labels = METRICS[name]
    return GaugeMetricFamily(name, documentation, labels=labels)


def _single(name: str, value: float) -> GaugeMetricFamily:
    family = _gauge(name)
    family.add_metric([], value)
    return family
