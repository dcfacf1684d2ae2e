"""What was turned away in the last day, by the log: who, why, how often, and what to do about it."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field
from pydicom.uid import UID

from medfake_pacs.console.queries.facts import Fact, first_seq_since, seconds_of
from medfake_pacs.database.tables import audit_events

DAY_S = 86_400.0
_READ = 500
_SHOWN = 50

_Facts = Mapping[str, Any]


class Trouble(Fact):
    """Events of the last day that have the same reason and the same sender."""

    kind: Annotated[str, Field(description="the kind of event in the log")]
    what: Annotated[str, Field(description="what happened, in words")]
    sender: Annotated[str, Field(description="calling AE title and host, as far as they are known")]
    reason: Annotated[str, Field(description="why")]
    count: Annotated[int, Field(description="how often, of the events that were read")]
    last_at: Annotated[float, Field(description="when last")]
    remedy: Annotated[str, Field(description="what to do about it")]


class Troubles(Fact):
    """What was turned away; ``more`` tells that there were events beyond those that were read."""

    groups: tuple[Trouble, ...]
    more: bool


_WHAT: Mapping[str, str] = MappingProxyType(
    {
        "association-rejected": "association rejected",
        "connection-refused": "connection refused",
        "instance-refused": "object refused",
        "object-not-kept": "objects not kept",
    }
)


def troubles(connection: sa.Connection, now: float) -> Troubles:
    """Return the last day's refusals in groups, the newest first."""
    columns = audit_events.c
    since = first_seq_since(connection, now - DAY_S)
    found: dict[tuple[str, str, str], Trouble] = {}
    more = False
    for kind in _WHAT:
        query = sa.select(columns.occurred_at, columns.ae_title, columns.payload)
        query = query.where(columns.kind == kind, columns.seq >= since).order_by(columns.seq.desc()).limit(_READ)
        rows = connection.execute(query).all()
        more = more or len(rows) == _READ
        for row in rows:
            trouble = _trouble(kind, row.ae_title, seconds_of(row.occurred_at), _payload(row.payload))
            key = (kind, trouble.sender, trouble.reason)
            before = found.get(key)
            found[key] = before.model_copy(update={"count": before.count + trouble.count}) if before else trouble
    groups = sorted(found.values(), key=lambda item: -item.last_at)
    return Troubles(groups=tuple(groups[:_SHOWN]), more=more or len(groups) > _SHOWN)


def _payload(text: str) -> _Facts:
    try:
        facts = json.loads(text)["payload"]
    except (ValueError, LookupError, TypeError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _trouble(kind: str, ae_title: str, at: float, facts: _Facts) -> Trouble:
    if "suppressed" in facts:
        reason, remedy = "too many to log each", "raise association.rejections_logged_per_minute to see each"
        sender, number = "", _number(facts, "suppressed")
    else:
        reason, remedy = _EXPLAIN[kind](ae_title, facts)
        host = str(facts.get("host") or _peer(facts).get("host", ""))
        sender, number = f"{ae_title} from {host}" if ae_title else host, _number(facts, "count")
    return Trouble(
        kind=kind, what=_WHAT[kind], sender=sender, reason=reason, count=number, last_at=at, remedy=remedy
    )  # fmt: skip


def _number(facts: _Facts, name: str) -> int:
    value = facts.get(name, 1)
    return value if isinstance(value, int) else 1


def _peer(facts: _Facts) -> _Facts:
    peer = facts.get("peer")
    return peer if isinstance(peer, dict) else {}


def _rejection(ae_title: str, facts: _Facts) -> tuple[str, str]:
    reason, host = str(facts.get("reason", "")), facts.get("host", "")
    called, subject = facts.get("called_ae_title", ""), facts.get("tls_subject", "")
    remedies = {
        "called AE title not recognised": f"it called {called!r}: correct that in the sender, "
        "or add it to association.called_ae_titles",
        "calling AE title unknown": f'add {ae_title!r} with hosts = ["{host}"] to [[peers]], if it may send',
        "calling AE title known, but not from this address": f"add {host} to the hosts of {ae_title!r} in [[peers]], "
        "if it is that system (NAT, a second network card)",
        "calling AE title known, but not with this TLS subject": f"its certificate says {subject!r}: correct "
        f"tls_subject of {ae_title!r} in [[peers]], or the sender's certificate",
        "too many associations": "raise association.max_associations, or have senders open fewer at once; each of "
        "several receivers takes its share",
        "too many associations of this peer": "raise association.max_associations_per_peer, or have it open fewer",
        "temporary congestion": "the node was stopping or could not judge; the sender should try again",
    }
    shown = f"{reason} (called {called!r})" if reason.startswith("called") else reason
    return shown, remedies.get(reason, "the log's row and the receiver's standard error say more")


def _connection(_ae_title: str, facts: _Facts) -> tuple[str, str]:
    return str(facts.get("reason", "")), "something connects without a DICOM association: a port scan, a load balancer"


def _refusal(_ae_title: str, facts: _Facts) -> tuple[str, str]:
    status = str(facts.get("status", ""))
    remedies = {
        "A700": "make room on the disk, or see to the database; the sender may send it again",
        "A900": "the object contradicts the sender's request; the sender has to be corrected",
        "C000": "the object can't be parsed or lacks a UID; the sender has to be corrected",
    }
    return f"{status} {facts.get('reason', '')}".strip(), remedies.get(
        status, "the receiver's standard error says more"
    )


def _not_kept(_ae_title: str, facts: _Facts) -> tuple[str, str]:
    uid = UID(str(facts.get("sop_class_uid", "")))
    if facts.get("own_report"):
        return "our own reports came back", "exclude SRs of this node from what its sender forwards"
    return f"{uid.name} is no image", "nothing: it is answered with Success, but not kept and not assessed"


_EXPLAIN: Mapping[str, Callable[[str, _Facts], tuple[str, str]]] = MappingProxyType(
    {
        "association-rejected": _rejection,
        "connection-refused": _connection,
        "instance-refused": _refusal,
        "object-not-kept": _not_kept,
    }
)
