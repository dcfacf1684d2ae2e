"""Logs to tamper with: filled ones, and the same without the triggers that protect them."""

from pathlib import Path

import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.database import reading, transaction
from medfake_pacs.entities import AuditEvent

ROWS = 6


def verdict_event(number: int = 0) -> AuditEvent:
    """Return an event with every column filled."""
    return AuditEvent(
        kind="study-verdict",
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.4",
        sop_instance_uid=f"1.2.3.4.{number}",
        patient_id="P1",
        accession_number="A1",
        ae_title="PACS1",
        verdict="fake",
        model_sha256="ab" * 32,
        payload={"probability": 0.987, "reason": "Ünïcode", "number": number},
    )


def fill(engine: sa.Engine) -> sa.Engine:
    """Append ``ROWS`` events."""
    with transaction(engine) as connection:
        for number in range(1, ROWS + 1):
            assert audit.append(connection, verdict_event(number)) == number
    return engine


def verify(engine: sa.Engine, anchor_file: Path | None = None) -> audit.Verification:
    """Check the log on a connection of its own."""
    with reading(engine) as connection:
        return audit.verify(connection, anchor_file)


def _without_triggers(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        for name in ("no_update", "no_delete", "in_order"):
            connection.exec_driver_sql(f"DROP TRIGGER audit_events_{name}")
    else:
        connection.exec_driver_sql("ALTER TABLE audit_events DISABLE TRIGGER USER")


def tamper(engine: sa.Engine, *statements: str) -> None:
    """Drop the triggers, then run the statements, as one with every right on the database can."""
    with transaction(engine) as connection:
        _without_triggers(connection)
        for statement in statements:
            connection.exec_driver_sql(statement)
