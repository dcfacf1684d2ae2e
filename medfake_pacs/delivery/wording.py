"""What is said of deliveries and destinations: one set of columns and sentences for command line and console."""

from collections.abc import Iterable
from datetime import UTC, datetime

from medfake_pacs.config import DestinationSettings
from medfake_pacs.delivery.dead_letters import Retried
from medfake_pacs.delivery.listing import Attempt, ListedDelivery
from medfake_pacs.delivery.queue import WAITING
from medfake_pacs.delivery.retrying import Circuit, CircuitState
from medfake_pacs.wording import DELIVERY_STATES

DELIVERY_COLUMNS = ("ID", "study", "report", "destination", "state", "attempts", "when", "status", "comment")
HOMELESS_REMEDY = "add one with this name to [[destinations]], or dismiss what is for it"
CIRCUIT_COLUMNS = ("destination", "AE title", "address", "circuit", "failures in a row", "next probe")


def delivery_cells(row: ListedDelivery) -> tuple[str, ...]:
    """Return a delivery's cells under ``DELIVERY_COLUMNS``."""
    when = f"next {time_text(row.next_attempt_at)}" if row.state == WAITING else time_text(row.finished_at)
    cells = (
        str(row.delivery_id), row.study_instance_uid, row.report_uid, row.destination,
        DELIVERY_STATES.get(row.state, row.state), str(row.attempts), when, status_text(row.last_status),
        row.last_comment,
    )  # fmt: skip
    return tuple(map(printable, cells))


def attempt_cells(attempt: Attempt) -> tuple[str, ...]:
    """Return an attempt's cells under ``DELIVERY_COLUMNS``."""
    outcome = "sent" if attempt.succeeded else "failed"
    cells = (
        "", "", attempt.sent_sop_instance_uid, "", outcome, f"no. {attempt.number}", time_text(attempt.attempted_at),
        status_text(attempt.status), attempt.comment,
    )  # fmt: skip
    return tuple(map(printable, cells))


def circuit_cells(destination: DestinationSettings, circuit: Circuit) -> tuple[str, ...]:
    """Return a destination's cells under ``CIRCUIT_COLUMNS``."""
    probe = "" if circuit.state is CircuitState.CLOSED else time_text(circuit.probe_at)
    where = address(destination)
    return (destination.name, destination.ae_title, where, str(circuit.state), str(circuit.failures), probe)


def retried(outcome: Retried) -> str:
    """Return the sentence that says which deliveries were put back."""
    return f"{len(outcome.done)} to be tried at once" + _numbers(outcome.done)


def not_retried(asked: Iterable[int], outcome: Retried) -> list[str]:
    """Return a sentence for each delivery, or each destination's dead letters, that wasn't put back."""
    named = set(asked)
    homeless = dict(outcome.homeless)
    sentences = [
        f"{delivery_id}: no delivery with this number is waiting, a dead letter or dismissed"
        for delivery_id in sorted(named - set(outcome.done) - set(homeless))
    ]
    for name in sorted(set(homeless.values())):
        numbers = [delivery_id for delivery_id, destination in outcome.homeless if destination == name]
        what = ", ".join(map(str, numbers)) if named else f"{len(numbers)} left"
        sentences.append(f"{what}: no destination is named {name!r} any more; {HOMELESS_REMEDY}")
    return sentences


def dismissed(done: Iterable[int]) -> str:
    """Return the sentence that says which dead letters were dismissed."""
    numbers = tuple(done)
    return f"{len(numbers)} dismissed" + _numbers(numbers)


def not_dismissed(asked: Iterable[int], done: Iterable[int]) -> list[str]:
    """Return a sentence for each delivery that was to be dismissed and wasn't."""
    refused = sorted(set(asked) - set(done))
    return [f"{delivery_id}: no delivery with this number is a dead letter" for delivery_id in refused]


def _numbers(done: Iterable[int]) -> str:
    text = ", ".join(map(str, done))
    return f": {text}" if text else ""


def unknown_destination(name: str, destinations: Iterable[DestinationSettings]) -> str:
    """Return the sentence for a name that no destination has."""
    known = ", ".join(item.name for item in destinations) or "none"
    return f"no destination is named {name!r}; known: {known}"


def address(destination: DestinationSettings) -> str:
    """Return where a destination listens."""
    return f"{destination.host}:{destination.port}{' (TLS)' if destination.tls else ''}"


def status_text(status: int | None) -> str:
    """Return a DIMSE status as ``0xA700``; empty where no answer came."""
    return "" if status is None else f"0x{status:04X}"


def time_text(seconds: float | None) -> str:
    """Return seconds since the epoch as ``2026-01-31 08:00:00Z``; empty for None."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def printable(text: str) -> str:
    """Return ``text`` with what a terminal would act on written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
