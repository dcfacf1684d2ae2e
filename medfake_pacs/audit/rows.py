"""What the log is asked for, and what it answers with."""

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

from medfake_pacs.audit.chain import timestamp
from medfake_pacs.errors import AuditError


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """What to look for; empty text or None leaves a condition out.

    ``since`` is included and ``until`` excluded, both RFC 3339 text in UTC (see ``moment``). ``model`` is
    the first six or more digits of a digest, or a bundle's name. ``destination`` is one's name.
    """

    patient: str = ""
    accession: str = ""
    study: str = ""
    series: str = ""
    instance: str = ""
    verdict: str = ""
    model: str = ""
    ae_title: str = ""
    kind: str = ""
    destination: str = ""
    since: str = ""
    until: str = ""
    limit: int | None = None

    def as_facts(self) -> dict[str, str | int]:
        """Return the conditions that are set, as the command line writes them, for the log of who read it."""
        conditions = asdict(self).items()
        return {f"--{name.replace('_', '-')}": value for name, value in conditions if value not in ("", None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One row as it is stored; ``payload`` is the text that ``hash`` covers."""

    seq: int
    occurred_at: str
    kind: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    accession_number: str
    ae_title: str
    verdict: str
    model_sha256: str
    payload: str
    previous_hash: str
    hash: str


def moment(text: str, *, end: bool = False) -> str:
    """Return an ISO date or date with time as the log writes times; without an offset it is UTC.

    A date alone is its first moment or, as the ``end`` of a span, the first of the next day.

    Raises
    ------
    AuditError
        If it is neither.
    """
    try:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            value = datetime.fromisoformat(text)
        else:
            day += timedelta(days=1 if end else 0)
            value = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return timestamp((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise AuditError(f"{text!r} is no ISO date such as 2026-01-31 or 2026-01-31T08:00") from None
