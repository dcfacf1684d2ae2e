"""Who is alive, who is sending, and when each peer came last."""

from collections.abc import Iterable
from typing import Annotated

import sqlalchemy as sa
from pydantic import Field

from medfake_pacs.config import Settings
from medfake_pacs.console.queries.facts import Count, Fact, count
from medfake_pacs.database.heartbeat import STALE_HEARTBEAT_S
from medfake_pacs.database.tables import associations, nodes

_REMEMBERED_S = 7 * 86_400.0
_SHOWN = 200
_OPEN_SHOWN = 50


class Process(Fact):
    """One process of a node that shares this database."""

    node: Annotated[str, Field(description="host and port of its node")]
    name: Annotated[str, Field(description="receiver-0, worker, console, ...")]
    role: Annotated[str, Field(description="receiver, worker or console")]
    process_id: Annotated[int | None, Field(description="on its machine; none if it was never seen")]
    started_at: float | None
    heartbeat_at: Annotated[float | None, Field(description="its last sign of life, by the database's clock")]
    age_s: Annotated[float | None, Field(description="how long ago that is")]
    alive: Annotated[bool, Field(description="whether the last sign of life is fresh")]

    @property
    def state(self) -> str:
        """The word for it."""
        if self.heartbeat_at is None:
            return "never seen"
        return "alive" if self.alive else "silent"


class Association(Fact):
    """An association; ``ending`` is empty while it is open."""

    calling_ae_title: str
    called_ae_title: str
    host: str
    node: Annotated[str, Field(description="the receiver that it is or was with")]
    opened_at: float
    closed_at: float | None
    ending: Annotated[str, Field(description="released, aborted, ...; lost: its receiver died")]
    objects_kept: int
    objects_not_kept: int


class PeerState(Fact):
    """One entry of [[peers]], and its last association."""

    ae_title: str
    hosts: tuple[str, ...]
    tls_subject: str
    last: Annotated[Association | None, Field(description="its newest association; none if it never came")]


def processes(connection: sa.Connection, settings: Settings, now: float) -> list[Process]:
    """Return the processes that were seen in the last week, and those of this node that were never seen."""
    query = sa.select(nodes).where(nodes.c.heartbeat_at > now - _REMEMBERED_S)
    rows = connection.execute(query.order_by(nodes.c.heartbeat_at.desc()).limit(_SHOWN)).all()
    found = {row.node_id: _process(row, now) for row in rows}
    mine = {item.role for item in found.values() if item.node == settings.node_id}
    for name, role in _expected(settings):
        # A console alone on its machine doesn't miss the others there.
        if f"{settings.node_id}/{name}" not in found and mine - {"console"}:
            found[f"{settings.node_id}/{name}"] = Process(
                node=settings.node_id, name=name, role=role, process_id=None, started_at=None, heartbeat_at=None,
                age_s=None, alive=False,
            )  # fmt: skip
    return sorted(found.values(), key=lambda item: (item.node != settings.node_id, item.node, item.name))


def open_associations(connection: sa.Connection, now: float) -> tuple[Count, list[Association]]:
    """Return how many associations are open with living receivers, and the newest of them."""
    living = sa.select(nodes.c.node_id).where(nodes.c.heartbeat_at > now - STALE_HEARTBEAT_S)
    query = sa.select(associations).where(associations.c.closed_at.is_(None), associations.c.node_id.in_(living))
    rows = connection.execute(query.order_by(associations.c.opened_at.desc()).limit(_OPEN_SHOWN)).all()
    return count(connection, query), [_association(row) for row in rows]


def peers(connection: sa.Connection, settings: Settings) -> list[PeerState]:
    """Return each configured peer with its last association."""
    return [
        PeerState(
            ae_title=peer.ae_title,
            hosts=peer.hosts,
            tls_subject=peer.tls_subject,
            last=_last_of(connection, peer.ae_title),
        )
        for peer in settings.peers
    ]


def _last_of(connection: sa.Connection, ae_title: str) -> Association | None:
    query = sa.select(associations).where(associations.c.calling_ae_title == ae_title)
    row = connection.execute(query.order_by(associations.c.opened_at.desc()).limit(1)).one_or_none()
    return _association(row) if row else None


def _expected(settings: Settings) -> Iterable[tuple[str, str]]:
    for index in range(settings.node.receivers):
        yield f"receiver-{index}", "receiver"
    yield "worker", "worker"
    if settings.console.enabled:
        yield "console", "console"


def _process(row: sa.Row[tuple[object, ...]], now: float) -> Process:
    node, _, name = str(row.node_id).rpartition("/")
    age_s = max(0.0, now - row.heartbeat_at)
    return Process(
        node=node,
        name=name,
        role=row.role,
        process_id=row.process_id,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        age_s=age_s,
        alive=age_s < STALE_HEARTBEAT_S,
    )


def _association(row: sa.Row[tuple[object, ...]]) -> Association:
    return Association(
        calling_ae_title=row.calling_ae_title,
        called_ae_title=row.called_ae_title,
        host=row.host,
        node=row.node_id,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        ending=row.ending,
        objects_kept=row.objects_kept,
        objects_not_kept=row.objects_not_kept,
    )
