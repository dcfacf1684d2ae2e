"""The whole node at one moment, and what of it needs attention."""

import time
from collections.abc import Sequence
from typing import Annotated, Literal

import sqlalchemy as sa
from pydantic import Field

from medfake_pacs import __version__
from medfake_pacs.config import DestinationSettings, RouteSettings, Settings
from medfake_pacs.config.notes import notes
from medfake_pacs.console.queries import node_parts
from medfake_pacs.console.queries.facts import Count, Fact, count
from medfake_pacs.console.queries.model_updates import ModelUpdate, model_updates
from medfake_pacs.console.queries.models import ModelState
from medfake_pacs.console.queries.node_parts import DestinationState, Observed, Part
from medfake_pacs.console.queries.processes import (
    Association,
    PeerState,
    Process,
    open_associations,
    peers,
    processes,
)
from medfake_pacs.console.queries.queue import DeadLetters, Queue, dead_letters, queues
from medfake_pacs.console.queries.storage import LogHead, Storage, log_head, storage
from medfake_pacs.console.queries.throughput import Throughput, throughput
from medfake_pacs.console.queries.troubles import Troubles, troubles
from medfake_pacs.database.heartbeat import database_time
from medfake_pacs.database.tables import deliveries
from medfake_pacs.delivery import circuit_of
from medfake_pacs.delivery.wording import address, circuit_cells


class RouteState(Fact):
    """One route; the first whose every condition holds is taken."""

    name: str
    conditions: Annotated[tuple[str, ...], Field(description="what an image must be; none: anything")]
    model: Annotated[str, Field(description="what assesses it; empty: reported as not assessed")]
    send_to: tuple[str, ...]


class NodeState(Fact):
    """Everything that an administrator asks for first."""

    at: Annotated[float, Field(description="when this was looked up, seconds since the epoch")]
    version: str
    node: Annotated[str, Field(description="host and port")]
    ae_title: str
    address: Annotated[str, Field(description="where it listens for associations")]
    console_url: str
    well: Annotated[bool, Field(description="whether no part needs attention")]
    parts: Annotated[tuple[Part, ...], Field(description="the state of each part, in words")]
    processes: tuple[Process, ...]
    associations_open: Count
    associations: Annotated[tuple[Association, ...], Field(description="the newest that are open")]
    peers: tuple[PeerState, ...]
    accept_unknown_peers: bool
    troubles: Annotated[Troubles, Field(description="what was turned away in the last day")]
    queues: tuple[Queue, ...]
    dead_letters: tuple[DeadLetters, ...]
    throughput: tuple[Throughput, ...]
    destinations: tuple[DestinationState, ...]
    storage: Storage
    log: LogHead
    models: tuple[ModelState, ...]
    model_updates: Annotated[tuple[ModelUpdate, ...], Field(description="new bundles that aren't in force")]
    routes: tuple[RouteState, ...]
    notes: Annotated[tuple[str, ...], Field(description="what the configuration allows but probably doesn't mean")]


def node_state(connection: sa.Connection, settings: Settings, models: Sequence[ModelState]) -> NodeState:
    """Return the node as it is now; ``connection`` is from ``database.reading``."""
    now = database_time(connection)
    open_count, open_ones = open_associations(connection, now)
    observed = _observe(connection, settings, models, now)
    parts = node_parts.parts(settings, observed)
    return NodeState(
        at=now,
        version=__version__,
        node=settings.node_id,
        ae_title=settings.node.ae_title,
        address=f"{settings.node.host}:{settings.node.port}{' (TLS)' if settings.tls else ''}",
        console_url=settings.console.url,
        well=all(part.state != "bad" for part in parts),
        parts=tuple(parts),
        processes=observed.processes,
        associations_open=open_count,
        associations=tuple(open_ones),
        peers=tuple(peers(connection, settings)),
        accept_unknown_peers=settings.association.accept_unknown_peers,
        troubles=observed.troubles,
        queues=observed.queues,
        dead_letters=observed.dead_letters,
        throughput=tuple(throughput(connection, now)),
        destinations=observed.destinations,
        storage=observed.storage,
        log=observed.log,
        models=observed.models,
        model_updates=tuple(model_updates(settings)),
        routes=tuple(_route(item) for item in settings.routes),
        notes=tuple(notes(settings)),
    )


def _observe(connection: sa.Connection, settings: Settings, models: Sequence[ModelState], now: float) -> Observed:
    names = [item.name for item in settings.destinations]
    return Observed(
        now=now,
        processes=tuple(processes(connection, settings, now)),
        troubles=troubles(connection, now),
        queues=tuple(queues(connection, names, max_wait_s=settings.completion.max_wait_s)),
        dead_letters=tuple(dead_letters(connection, names)),
        destinations=tuple(destination_states(connection, settings)),
        storage=storage(connection, settings),
        log=log_head(connection, settings),
        models=tuple(models),
    )


def destination_states(connection: sa.Connection, settings: Settings) -> list[DestinationState]:
    """Return each configured destination with its circuit and its last success."""
    return [destination_state(connection, item) for item in settings.destinations]


def destination_state(connection: sa.Connection, destination: DestinationSettings) -> DestinationState:
    """Return one destination with its circuit and its last success."""
    # By this machine's clock, as the attempts are.
    circuit = circuit_of(connection, destination.name, destination.retry, time.time())
    mine = deliveries.c.destination == destination.name
    # A sent delivery's next_attempt_at is when it was sent.
    sent = sa.select(sa.func.max(deliveries.c.next_attempt_at)).where(mine, deliveries.c.state == "sent")
    waiting = sa.select(deliveries.c.delivery_id).where(mine, deliveries.c.state == "waiting")
    dead = sa.select(deliveries.c.delivery_id).where(mine, deliveries.c.state == "dead")
    last = sa.select(deliveries.c.last_comment).where(mine, deliveries.c.state != "sent", deliveries.c.attempts > 0)
    last = last.where(deliveries.c.state.in_(("waiting", "dead"))).order_by(deliveries.c.delivery_id.desc()).limit(1)
    return DestinationState(
        name=destination.name,
        ae_title=destination.ae_title,
        address=address(destination),
        circuit=circuit.state,
        failures=circuit.failures,
        probe_at=circuit.probe_at or None,
        cells=circuit_cells(destination, circuit),
        last_success_at=connection.execute(sent).scalar_one(),
        last_failure=connection.execute(last).scalar_one_or_none() or "",
        waiting=count(connection, waiting),
        dead=count(connection, dead),
    )


def _route(route: RouteSettings) -> RouteState:
    named: tuple[tuple[Literal["from", "called", "modality", "body part", "description"], tuple[str, ...]], ...] = (
        ("from", route.from_),
        ("called", route.called),
        ("modality", route.modality),
        ("body part", route.body_part),
        ("description", route.description),
    )
    conditions = tuple(f"{name}: {' or '.join(values)}" for name, values in named if values)
    return RouteState(name=route.name, conditions=conditions, model=route.model, send_to=route.send_to)
