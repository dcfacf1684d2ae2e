"""The limit on what is logged of rejections, and what becomes of the rest."""

from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.association.rejections import Clerk, Throttle
from medfake_pacs.database import open_engine, upgrade
from medfake_pacs.database.tables import audit_events
from medfake_pacs.entities import AuditEvent


def test_each_kind_has_its_limit_per_minute_and_the_rest_is_counted() -> None:
    now = [0.0]
    throttle = Throttle(2, lambda: now[0])
    assert [throttle.admit("a") for _ in range(4)] == [True, True, False, False]
    assert [throttle.admit("b") for _ in range(3)] == [True, True, False]
    assert throttle.take_suppressed() == {}
    now[0] = 60.0
    assert throttle.take_suppressed() == {"a": 2, "b": 1}
    assert throttle.take_suppressed() == {}
    assert throttle.admit("a")


def test_events_that_could_not_be_written_are_counted_in_the_log_later(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'node.db'}")
    clerk = Clerk(engine, Throttle(1))
    # The tables aren't there yet: the database is "away".
    for _ in range(3):
        clerk.log(AuditEvent(kind="association-rejected"))
    upgrade(engine)
    clerk.close()
    with engine.connect() as connection:
        payloads = list(connection.scalars(sa.select(audit_events.c.payload)))
    engine.dispose()
    counted = sum('"suppressed"' in payload for payload in payloads)
    assert counted == 1
