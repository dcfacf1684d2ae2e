"""Tell people and programs of verdicts: durable queue with backoff, webhooks, e-mail, dead letters.

Sending is in ``sending``, which is imported only where something is sent.
"""

from medfake_pacs.notification.listing import ListedNotification, listing
from medfake_pacs.notification.outcome import Outcome
from medfake_pacs.notification.queue import DueNotification, claim, due, enqueue, give_up_unknown, record, retry

__all__ = [
    "DueNotification",
    "ListedNotification",
    "Outcome",
    "claim",
    "due",
    "enqueue",
    "give_up_unknown",
    "listing",
    "record",
    "retry",
]
