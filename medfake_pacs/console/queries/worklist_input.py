"""What people and programs ask the worklist for, checked."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from medfake_pacs.console.queries.worklist import OVERDUE, VERDICTS, Order, StudyFilter

UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
UID_CHARACTERS = 64
_TEXT_CHARACTERS = 1024
# Names of QIDO-RS (PS3.18 10.6) that mean the same.
ALIASES: Mapping[str, str] = {
    "StudyInstanceUID": "study_instance_uid",
    "PatientID": "patient_id",
    "AccessionNumber": "accession_number",
    "ModalitiesInStudy": "modality",
}
TEXTS = ("modality", "ae_title", "patient_id", "accession_number", "study_instance_uid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A search as it was understood; ``values`` is what was typed, ``wrong`` what is wrong with it, by name."""

    conditions: StudyFilter
    order: Order
    values: Mapping[str, str]
    verdicts: tuple[str, ...]
    wrong: Mapping[str, str] = field(default_factory=dict)


def understand(values: Mapping[str, str], verdicts: Sequence[str]) -> Asked:
    """Return the search that these values describe: texts by name, and the verdicts to look for."""
    text = {name: value.strip() for name, value in values.items()}
    wrong: dict[str, str] = {}
    for name in TEXTS:
        if len(text.get(name, "")) > _TEXT_CHARACTERS or "\0" in text.get(name, ""):
            wrong[name] = f"longer than {_TEXT_CHARACTERS} characters, or with a NUL"
    uid = text.get("study_instance_uid", "")
    if uid and not is_uid(uid):
        wrong["study_instance_uid"] = "A UID is numbers joined by points, 64 characters at most: 1.2.840.10008.1"
    unknown = [each for each in verdicts if each not in VERDICTS]
    if unknown:
        wrong["verdict"] = f"One of {', '.join(VERDICTS)}"
    overdue = text.get("no_verdict_for", "")
    if overdue and overdue not in OVERDUE:
        wrong["no_verdict_for"] = f"One of {', '.join(OVERDUE)}"
    order = text.get("order", "") or Order.NEWEST
    if order not in set(Order):
        wrong["order"] = f"One of {', '.join(Order)}"
    conditions = StudyFilter(
        verdicts=tuple(each for each in VERDICTS if each in verdicts),
        received_from=_moment(text, "from", wrong),
        received_until=_moment(text, "to", wrong),
        overdue_s=OVERDUE.get(overdue),
        **{name: "" if name in wrong else text.get(name, "") for name in TEXTS},
    )
    span = (conditions.received_from, conditions.received_until)
    if span[0] is not None and span[1] is not None and span[0] >= span[1]:
        wrong["to"] = "It lies before the first day"
    return Asked(
        conditions=conditions,
        order=Order.NEWEST if "order" in wrong else Order(order),
        values=text,
        verdicts=tuple(verdicts),
        wrong=wrong,
    )


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID (PS3.5 9.1)."""
    return len(text) <= UID_CHARACTERS and UID.fullmatch(text) is not None


def _moment(text: Mapping[str, str], name: str, wrong: dict[str, str]) -> float | None:
    """Return an ISO date, or date with time, as seconds since the epoch; a date as ``to`` is its end. UTC if unsaid."""
    value = text.get(name, "")
    if not value:
        return None
    try:
        if len(value) == len("2026-01-31"):
            day = date.fromisoformat(value) + timedelta(days=1 if name == "to" else 0)
            return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        moment = datetime.fromisoformat(value)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        wrong[name] = "A date is written 2026-01-31, with a time 2026-01-31T08:00"
        return None
    return seconds if math.isfinite(seconds) else None
