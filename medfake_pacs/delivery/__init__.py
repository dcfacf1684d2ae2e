"""Send reports to the destinations: Storage SCU, durable queue with backoff, circuit breaker, dead letters."""

from medfake_pacs.delivery.listing import Attempt, ListedDelivery, listing
from medfake_pacs.delivery.queue import DueDelivery, circuit_of, due, enqueue, record, retry
from medfake_pacs.delivery.retrying import Circuit, CircuitState, circuit
from medfake_pacs.delivery.storage_scu import OutgoingReport, send_batch
from medfake_pacs.delivery.tls import client_context
from medfake_pacs.delivery.verification_scu import echo

__all__ = [
    "Attempt",
    "Circuit",
    "CircuitState",
    "DueDelivery",
    "ListedDelivery",
    "OutgoingReport",
    "circuit",
    "circuit_of",
    "client_context",
    "due",
    "echo",
    "enqueue",
    "listing",
    "record",
    "retry",
    "send_batch",
]
