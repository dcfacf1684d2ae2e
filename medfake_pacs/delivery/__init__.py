"""Send reports to the destinations: Storage SCU, durable queue with backoff, circuit breaker, dead letters."""

from medfake_pacs.delivery.dead_letters import Retried, dismiss, give_up_unknown, retry
from medfake_pacs.delivery.listing import Attempt, ListedDelivery, listing
from medfake_pacs.delivery.queue import DueDelivery, circuit_of, due, enqueue, record
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
    "Retried",
    "circuit",
    "circuit_of",
    "client_context",
    "dismiss",
    "due",
    "echo",
    "enqueue",
    "give_up_unknown",
    "listing",
    "record",
    "retry",
    "send_batch",
]
