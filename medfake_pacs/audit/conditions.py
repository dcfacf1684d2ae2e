"""What the log can be searched by: one list of names, explanations and readers for command line, console and API."""

from collections.abc import Mapping
from dataclasses import dataclass

from medfake_pacs.audit.canonical import storable
from medfake_pacs.audit.rows import AuditFilter, moment
from medfake_pacs.entities import VerdictLabel
from medfake_pacs.errors import AuditError

_MAX_LENGTH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition: ``name`` as in ``AuditFilter``, ``label`` to stand before it, ``help`` on what is to be given."""

    name: str
    help: str
    label: str

    @property
    def option(self) -> str:
        """Its option of ``audit query``, without the hyphens before it."""
        return self.name.replace("_", "-")


CONDITIONS = (
    Condition(name="patient", label="Patient ID", help="Patient ID"),
    Condition(name="accession", label="Accession Number", help="Accession Number"),
    Condition(name="study", label="Study Instance UID", help="Study Instance UID"),
    Condition(name="series", label="Series Instance UID", help="Series Instance UID"),
    Condition(name="instance", label="SOP Instance UID", help="SOP Instance UID"),
    Condition(name="model", label="Model", help="name of a bundle, or the first six or more digits of its digest"),
    Condition(name="ae_title", label="AE title", help="AE title of the peer"),
    Condition(name="kind", label="Kind", help="kind of event, such as study-verdict or report-failed"),
    Condition(name="destination", label="Destination", help="name of a destination"),
    Condition(name="verdict", label="Verdict", help=", ".join(VerdictLabel)),
    Condition(name="since", label="Since", help="ISO date or time, UTC unless it says otherwise"),
    Condition(name="until", label="Until", help="the same; a date includes its whole day"),
)


def read_condition(name: str, text: str) -> str:
    """Return the value that ``AuditFilter`` wants for what somebody gave.

    Raises
    ------
    AuditError
        If it makes no sense; the text says what would.
    """
    if len(text) > _MAX_LENGTH:
        raise AuditError(f"longer than {_MAX_LENGTH} characters: the log holds no such value")
    if name == "verdict":
        return _verdict(text)
    if name in {"since", "until"}:
        return moment(text, end=name == "until")
    # As the log holds it: no NUL, no lone surrogate.
    return storable(text)


def read_limit(text: str) -> int:
    """Return how many rows are wanted at most.

    Raises
    ------
    AuditError
        If it isn't a whole number above zero.
    """
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < len(str(2**63)) else 0
    if value < 1:
        raise AuditError(f"{text!r} is no whole number above zero")
    return value


def read_conditions(given: Mapping[str, str]) -> tuple[AuditFilter, dict[str, str]]:
    """Return the filter for a form's values, and by name what is wrong with those that were left out of it."""
    values: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for condition in CONDITIONS:
        text = given.get(condition.name, "").strip()
        if not text:
            continue
        try:
            values[condition.name] = read_condition(condition.name, text)
        except AuditError as error:
            wrong[condition.name] = str(error)
    return AuditFilter(**values), wrong


def _verdict(text: str) -> str:
    value = text.replace("-", " ").replace("_", " ").lower()
    if value not in list(VerdictLabel):
        raise AuditError(f"{text!r} is no verdict; choose from {', '.join(VerdictLabel)}")
    return value
