"""Whether the database still refuses to change the log: the triggers that the migration made."""

import sqlalchemy as sa

_SQLITE = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%BEGIN SELECT RAISE(ABORT,%'"
_POSTGRESQL = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'audit_events'::regclass AND tgenabled <> 'D'"
_TRIGGERS = {
    "sqlite": {"audit_events_no_update": "UPDATE", "audit_events_no_delete": "DELETE"},
    "postgresql": {"audit_events_no_change": "UPDATE and DELETE", "audit_events_no_truncate": "TRUNCATE"},
}


def missing_protection(connection: sa.Connection) -> tuple[str, ...]:
    """Return a sentence for each trigger on the log that is gone, or switched off."""
    dialect = connection.dialect.name
    found = set(connection.exec_driver_sql(_SQLITE if dialect == "sqlite" else _POSTGRESQL).scalars())
    return tuple(
        f"the trigger {name} is gone: nothing refuses {verbs} on the log any more"
        for name, verbs in _TRIGGERS[dialect].items()
        if name not in found
    )
