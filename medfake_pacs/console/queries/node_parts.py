"""The state of each part of the node in words: all well, or what is wrong and what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from medfake_pacs.config import Settings
from medfake_pacs.console.queries.facts import Count, Fact
from medfake_pacs.console.queries.models import ModelState
from medfake_pacs.console.queries.processes import Process
from medfake_pacs.console.queries.queue import DeadLetters, Queue
from medfake_pacs.console.queries.storage import LogHead, Storage
from medfake_pacs.console.queries.troubles import Troubles
from medfake_pacs.console.templating import bytes_text, span_text
from medfake_pacs.delivery.retrying import CircuitState
from medfake_pacs.delivery.wording import HOMELESS_REMEDY

# The anchor is written daily.
_ANCHOR_LATE_S = 2 * 86_400.0
State = Literal["good", "note", "bad"]


class Part(Fact):
    """One part of the node: ``good``, ``note`` (worth a look) or ``bad`` (needs attention)."""

    name: str
    state: State
    text: Annotated[str, Field(description="all well, or what is wrong")]
    remedy: Annotated[str, Field(description="what to do; empty when all is well")] = ""


class DestinationState(Fact):
    """One entry of [[destinations]] and how sending to it goes."""

    name: str
    ae_title: str
    address: str
    circuit: Annotated[str, Field(description="closed: reports flow; open: held back; half-open: one may try")]
    failures: Annotated[int, Field(description="associations that failed in a row")]
    probe_at: Annotated[float | None, Field(description="when it is tried again; none while the circuit is closed")]
    cells: Annotated[tuple[str, ...], Field(exclude=True)] = ()
    last_success_at: Annotated[float | None, Field(description="when it last took a report")]
    last_failure: Annotated[str, Field(description="what it last said to a report that isn't sent")]
    waiting: Count
    dead: Annotated[Count, Field(description="dead letters")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the parts are judged by."""

    now: float
    processes: tuple[Process, ...]
    troubles: Troubles
    queues: tuple[Queue, ...]
    dead_letters: tuple[DeadLetters, ...]
    destinations: tuple[DestinationState, ...]
    storage: Storage
    log: LogHead
    models: tuple[ModelState, ...]


def parts(settings: Settings, seen: Observed) -> list[Part]:
    """Return the state of each part, in the order in which an image passes them."""
    return [
        _role(seen, "receiver", "receivers", "no image is received", "medfake-pacs serve, or its receiver units"),
        _senders(settings, seen),
        _disk(seen.storage),
        _role(seen, "worker", "workers", "nothing is scored, assessed or sent", "medfake-pacs serve, or its unit"),
        *_queues(seen),
        *_models(settings, seen),
        *_destinations(settings, seen),
        _role(seen, "console", "consoles", "", ""),
        _log(seen),
    ]


def _role(seen: Observed, role: str, name: str, consequence: str, command: str) -> Part:
    mine = [item for item in seen.processes if item.role == role]
    alive = [item for item in mine if item.alive]
    missing = [item for item in mine if not item.alive]
    said = f"{len(alive)} alive"
    if not alive and consequence:
        return Part(name=name, state="bad", text=f"none alive: {consequence}", remedy=f"start {command}")
    if not missing:
        return Part(name=name, state="good", text=said if mine else "none has reported yet")
    silent = ", ".join(f"{item.node}/{item.name} {_since(item)}" for item in missing)
    here = any(item.node == missing[0].node for item in alive) or len({item.node for item in mine}) == 1
    remedy = "see the standard error of the node; what was taken out of service is forgotten after a week"
    return Part(name=name, state="bad" if here and role != "console" else "note", text=f"{said}; {silent}",
                remedy=remedy)  # fmt: skip


def _since(process: Process) -> str:
    return f"silent for {span_text(process.age_s)}" if process.age_s is not None else "never seen"


def _senders(settings: Settings, seen: Observed) -> Part:
    refused = [item for item in seen.troubles.groups if item.kind != "object-not-kept"]
    if not settings.peers and not settings.association.accept_unknown_peers:
        return Part(name="senders", state="bad", text="no peer may send", remedy="add senders to [[peers]]")
    if not refused:
        return Part(name="senders", state="good", text="nothing was turned away in the last day")
    newest = refused[0]
    total = sum(item.count for item in refused)
    text = f"{total} times turned away in the last day; last: {newest.what}, {newest.reason}"
    text += f" ({newest.sender})" if newest.sender else ""
    return Part(name="senders", state="note", text=text, remedy=newest.remedy)


def _disk(found: Storage) -> Part:
    if found.free_bytes is None:
        return Part(name="disk", state="bad", text=f"{found.spool_dir} can't be seen from the console's machine",
                    remedy="mount the spool there, or run the console where the spool is")  # fmt: skip
    said = f"{bytes_text(found.free_bytes)} free, {bytes_text(found.min_free_bytes)} must stay free"
    if not found.has_room:
        return Part(name="disk", state="bad", text=f"{said}: senders get A700",
                    remedy="lower spool.retention_days, or move node.state_dir to a larger disk")  # fmt: skip
    if not found.writable:
        return Part(name="disk", state="note", text=f"{said}; the console can't write there",
                    remedy="give its account the right to, or no image can be uploaded")  # fmt: skip
    return Part(name="disk", state="good", text=said)


def _queues(seen: Observed) -> Iterator[Part]:
    late = [item for item in seen.queues if item.is_late(seen.now) and item.name != "reports"]
    for item in late:
        waited = span_text(seen.now - (item.oldest_at or seen.now))
        text = f"{item.depth} {item.label}, the oldest for {waited}"
        yield Part(name="queues", state="bad", text=text, remedy=item.if_late)
    if not late:
        yield Part(name="queues", state="good", text="nothing waits for too long")


def _models(settings: Settings, seen: Observed) -> Iterator[Part]:
    used = {route.model for route in settings.routes if route.model}
    good = {item.name for item in seen.models if not item.error}
    for item in seen.models:
        if item.error:
            state: State = "bad" if item.folder in used else "note"
            yield Part(name="models", state=state, text=f"{item.folder}: damaged: {item.error}",
                       remedy="install the bundle anew")  # fmt: skip
    for name in sorted(used - good - {item.folder for item in seen.models if item.error}):
        yield Part(name="models", state="bad", text=f"a route names {name!r}, and no bundle has that name",
                   remedy="install it, or correct the route")  # fmt: skip
    if not any(item.error for item in seen.models) and used <= good:
        text = f"{len(good)} installed, their digests checked" if good else "none installed"
        yield Part(name="models", state="good" if good else "note", text=text)


def _destinations(settings: Settings, seen: Observed) -> Iterator[Part]:
    waiting = {item.destination: item for item in seen.queues if item.name == "reports"}
    wrong = False
    for item in seen.destinations:
        queue = waiting.get(item.name)
        said = f"; last: {item.last_failure}" if item.last_failure else ""
        if item.circuit != CircuitState.CLOSED:
            wrong = True
            yield Part(name="destinations", state="bad", remedy="try a C-ECHO; reports are kept and tried again",
                       text=f"{item.name} doesn't answer: {item.waiting} reports wait{said}")  # fmt: skip
        elif queue and queue.is_late(seen.now):
            wrong = True
            waited = span_text(seen.now - (queue.oldest_at or seen.now))
            yield Part(name="destinations", state="bad", remedy=queue.if_late,
                       text=f"{item.waiting} reports wait for {item.name}, the oldest for {waited}{said}")  # fmt: skip
    for part in _lost(settings, seen):
        wrong = True
        yield part
    if not wrong and settings.destinations:
        yield Part(name="destinations", state="good", text="reports flow; no dead letters")
    elif not settings.destinations:
        yield Part(name="destinations", state="note", text="none: reports are kept, but sent nowhere",
                   remedy="add one to [[destinations]], and name it in the routes")  # fmt: skip


def _lost(settings: Settings, seen: Observed) -> Iterator[Part]:
    """Yield what waits for no destination, and the dead letters."""
    known = {item.name for item in settings.destinations}
    nobody = "and no destination has this name"
    for queue in seen.queues:
        if queue.name == "reports" and queue.destination not in known and queue.depth.value:
            yield Part(name="destinations", state="bad", remedy=HOMELESS_REMEDY,
                       text=f"{queue.depth} reports wait for {queue.destination}, {nobody}")  # fmt: skip
    for letters in seen.dead_letters:
        text = f"{letters.count} dead letter{'' if letters.count.value == 1 else 's'} for {letters.destination}"
        if letters.count.value and letters.destination in known:
            remedy = "see Deliveries for the reason, correct it, send them again, or dismiss them"
            yield Part(name="destinations", state="bad", text=text, remedy=remedy)
        elif letters.count.value:
            yield Part(name="destinations", state="bad", text=f"{text}, {nobody}", remedy=HOMELESS_REMEDY)


def _log(seen: Observed) -> Part:
    log = seen.log
    said = f"{log.seq} rows"
    if log.anchor_problem:
        return Part(name="log", state="bad", text=log.anchor_problem, remedy="see to it before the next is written")
    if not log.anchor_file:
        return Part(name="log", state="note", text=f"{said}, no anchor: a log that was cut off would look whole",
                    remedy="set audit.anchor_file, best on another machine's disk")  # fmt: skip
    if log.anchored_at is None:
        return Part(name="log", state="note", text=f"{said}, not anchored yet",
                    remedy="the worker writes the first anchor within a minute of its start")  # fmt: skip
    age_s = seen.now - log.anchored_at
    if age_s > _ANCHOR_LATE_S and log.anchored_seq != log.seq:
        return Part(name="log", state="bad", text=f"{said}, last anchored {span_text(age_s)} ago",
                    remedy="see whether the worker can write the anchor file")  # fmt: skip
    return Part(name="log", state="good", text=f"{said}, anchored {span_text(age_s)} ago")
