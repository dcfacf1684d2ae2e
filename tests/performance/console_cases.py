"""What is asked of the worklist and the log: each filter alone, in pairs, in each order, and deep pages."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

import sqlalchemy as sa

from medfake_pacs.console.queries.worklist import Order
from medfake_pacs.console.queries.worklist_cursor import Cursor
from medfake_pacs.database import reading
from medfake_pacs.database.tables import audit_events, studies
from tests.performance.console_data import KEPT_PATIENT, RARE_SENDER

_DAY_S = 86_400.0
Values = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One address, and the kind of case that it belongs to."""

    group: str
    name: str
    address: str


def worklist_cases(engine: sa.Engine) -> list[Case]:
    """Return the worklist's cases, with values that the database has."""
    filters = _worklist_filters(engine)
    cases = [_case("worklist", "each order", order, {"order": order}) for order in Order]
    for name, values in filters.items():
        cases.append(_case("worklist", "each filter alone", name, values))
        for order in list(Order)[1:]:
            cases.append(_case("worklist", "filter and order", f"{name}, {order}", values | {"order": order}))
    for (first, one), (second, other) in itertools.combinations(filters.items(), 2):
        if not one.keys() & other.keys():
            cases.append(_case("worklist", "pairs of filters", f"{first} + {second}", one | other))
            both = one | other | {"order": "probability"}
            cases.append(_case("worklist", "pairs and order", f"{first} + {second}, probability", both))
    return cases + list(_deep_pages(engine, filters))


def _worklist_filters(engine: sa.Engine) -> dict[str, Values]:
    with reading(engine) as connection:
        newest = connection.execute(sa.select(sa.func.max(studies.c.first_received_at))).scalar_one()
        middle = studies.c.first_received_at > newest - 400 * _DAY_S
        query = sa.select(studies).where(middle, studies.c.patient_id != KEPT_PATIENT)
        study = connection.execute(query.order_by(studies.c.first_received_at).limit(1)).one()
    return {
        "fake": {"verdict": "fake"},
        "real": {"verdict": "real"},
        "not assessed": {"verdict": "not assessed"},
        "in progress": {"verdict": "in progress"},
        "fake or in progress": {"verdict": ["fake", "in progress"]},
        "CT": {"modality": "CT"},
        "XA, never assessed": {"modality": "XA"},
        "busy sender": {"ae_title": "GATEWAY1"},
        "CT scanner": {"ae_title": "CT1"},
        "rare sender": {"ae_title": RARE_SENDER},
        "unknown sender": {"ae_title": "NOBODY"},
        "patient": {"patient_id": study.patient_id},
        "patient of 30,000 studies": {"patient_id": KEPT_PATIENT},
        "accession number": {"accession_number": study.accession_number},
        "study": {"study_instance_uid": study.study_instance_uid},
        "one day": {"from": _day(newest - 1), "to": _day(newest - 1)},
        "one month": {"from": _day(newest - 400 * _DAY_S), "to": _day(newest - 370 * _DAY_S)},
        "all but a week": {"to": _day(newest - 7 * _DAY_S)},
        "a day without verdict": {"no_verdict_for": "1d"},
    }


def _deep_pages(engine: sa.Engine, filters: dict[str, Values]) -> Iterator[Case]:
    for order in Order:
        with reading(engine) as connection:
            column = order.column
            low, high = connection.execute(sa.select(sa.func.min(column), sa.func.max(column))).one()
        for share in (0.1, 0.5, 0.999):
            key = high - share * (high - low) if order.descending else low + share * (high - low)
            for backwards in (False, True):
                cursor = str(Cursor(key=key, uid="1.2.3", backwards=backwards))
                where = f"{order}, {share:.1%} down{', backwards' if backwards else ''}"
                yield _case("worklist", "deep pages", where, {"order": order, "cursor": cursor})
                for name in ("fake", "not assessed", "CT", "busy sender"):
                    values = filters[name] | {"order": order, "cursor": cursor}
                    yield _case("worklist", "deep pages", f"{name}, {where}", values)


def log_cases(engine: sa.Engine) -> list[Case]:
    """Return the log's cases, with values that the database has."""
    with reading(engine) as connection:
        last = connection.execute(sa.select(sa.func.max(audit_events.c.seq))).scalar_one()
        query = sa.select(audit_events).where(audit_events.c.seq > last // 2, audit_events.c.kind == "report-sent")
        row = connection.execute(query.order_by(audit_events.c.seq).limit(1)).one()
    at = datetime.fromisoformat(row.occurred_at).timestamp()
    filters: dict[str, Values] = {
        "patient": {"patient": row.patient_id},
        "patient of 30,000 studies": {"patient": KEPT_PATIENT},
        "accession number": {"accession": row.accession_number},
        "study": {"study": row.study_instance_uid},
        "series": {"series": f"{row.study_instance_uid}.5"},
        "instance": {"instance": row.sop_instance_uid},
        "unknown instance": {"instance": "1.2.3"},
        "fake": {"verdict": "fake"},
        "real": {"verdict": "real"},
        "model": {"model": "lung-ct"},
        "unknown model": {"model": "no-such-model"},
        "busy sender": {"ae_title": "GATEWAY1"},
        "rare sender": {"ae_title": RARE_SENDER},
        "frequent kind": {"kind": "study-verdict"},
        "rare kind": {"kind": "delivery-dead"},
        "destination": {"destination": "research"},
        "unknown destination": {"destination": "nowhere"},
        "one day": {"since": _day(at), "until": _day(at)},
        "one month": {"since": _day(at - 30 * _DAY_S), "until": _day(at)},
    }
    cases = [_case("log", "each order", order, {"order": order}) for order in ("newest", "oldest")]
    for name, values in filters.items():
        for order in ("newest", "oldest"):
            cases.append(_case("log", "each filter alone", f"{name}, {order}", values | {"order": order}))
    for (first, one), (second, other) in itertools.combinations(filters.items(), 2):
        if not one.keys() & other.keys():
            cases.append(_case("log", "pairs of filters", f"{first} + {second}", one | other))
    for share in (0.1, 0.5, 0.999):
        for order, key in (("newest", int(last * (1 - share))), ("oldest", int(last * share))):
            cases.append(_case("log", "deep pages", f"{order}, {share:.1%}", {"order": order, "cursor": f"0-{key}"}))
    return cases


def _case(page: str, group: str, name: str, values: Values) -> Case:
    return Case(group=f"{page}, {group}", name=name, address=f"/{page}?{urlencode(values, doseq=True)}")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
