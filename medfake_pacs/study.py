"""When is a study complete? A pure function of what has arrived, which associations are open, and the time."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from medfake_pacs.config import CompletionSettings


class Trigger(StrEnum):
    """Why a study was taken to be complete."""

    RELEASED = "association released"
    IDLE = "association idle"
    MAXIMUM = "maximum wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesArrival:
    """What has come of one series since the study's last verdict.

    ``sender_open`` tells whether an association that brought images of it is still open;
    ``senders_closed_at`` is when the last of them ended (None where one is open or none is known).
    """

    series_instance_uid: str
    first_received_at: float
    last_received_at: float
    sender_open: bool
    senders_closed_at: float | None


def series_trigger(arrival: SeriesArrival, now: float, completion: CompletionSettings) -> Trigger | None:
    """Return why the series is complete at ``now`` (seconds since the epoch), or None while it may still grow.

    After its associations ended, ``quiet_s`` without an image is enough. A sender that keeps its
    association open gets ``idle_association_s``, if that is longer.
    """
    if not arrival.sender_open:
        quiet_since = max(arrival.last_received_at, arrival.senders_closed_at or 0.0)
        return Trigger.RELEASED if now - quiet_since >= completion.quiet_s else None
    idle_s = max(completion.idle_association_s, completion.quiet_s)
    return Trigger.IDLE if now - arrival.last_received_at >= idle_s else None


def study_trigger(arrivals: Sequence[SeriesArrival], now: float, completion: CompletionSettings) -> Trigger | None:
    """Return why the study is complete at ``now``: each of its series is, or ``max_wait_s`` has passed."""
    if not arrivals:
        return None
    if now - min(arrival.first_received_at for arrival in arrivals) >= completion.max_wait_s:
        return Trigger.MAXIMUM
    triggers = [series_trigger(arrival, now, completion) for arrival in arrivals]
    if not all(triggers):
        return None
    return Trigger.IDLE if Trigger.IDLE in triggers else Trigger.RELEASED
