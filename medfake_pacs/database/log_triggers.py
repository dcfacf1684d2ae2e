"""The triggers that keep the log append-only, word for word as the database is to hold them.

What inserts a row that doesn't continue the chain is refused too: SQLite's ``INSERT OR REPLACE`` removes the
row that it replaces without firing a DELETE trigger, by its ``seq`` or by its unique ``hash``.

A released migration makes them: change one by a new migration, never here alone.
"""

from collections.abc import Mapping

_REFUSE = "SELECT RAISE(ABORT, 'audit_events is append-only')"

SQLITE: Mapping[str, str] = {
    "audit_events_no_update": (
        f"CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events BEGIN {_REFUSE}; END"
    ),
    "audit_events_no_delete": (
        f"CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events BEGIN {_REFUSE}; END"
    ),
    "audit_events_in_order": (
        "CREATE TRIGGER audit_events_in_order BEFORE INSERT ON audit_events WHEN "
        "NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit_events) OR "
        "NEW.previous_hash IS NOT coalesce("
        f"(SELECT hash FROM audit_events ORDER BY seq DESC LIMIT 1), '{'0' * 64}') OR "
        f"EXISTS (SELECT 1 FROM audit_events WHERE hash = NEW.hash) BEGIN {_REFUSE}; END"
    ),
}

# As pg_proc.prosrc holds them, by name.
POSTGRESQL_FUNCTIONS: Mapping[str, str] = {
    "audit_events_refuse": " BEGIN RAISE EXCEPTION 'audit_events is append-only'; END ",
    "audit_events_continue": (
        " DECLARE head record; BEGIN "
        "SELECT seq, hash INTO head FROM audit_events ORDER BY seq DESC LIMIT 1; "
        "IF NEW.seq IS DISTINCT FROM coalesce(head.seq, 0) + 1 OR "
        "NEW.previous_hash IS DISTINCT FROM coalesce(head.hash, repeat('0', 64)) THEN "
        "RAISE EXCEPTION 'audit_events is append-only'; END IF; RETURN NEW; END "
    ),
}

# As pg_get_triggerdef(oid, true) writes them, by name.
POSTGRESQL: Mapping[str, str] = {
    "audit_events_no_change": (
        "CREATE TRIGGER audit_events_no_change BEFORE DELETE OR UPDATE ON audit_events "
        "FOR EACH ROW EXECUTE FUNCTION audit_events_refuse()"
    ),
    "audit_events_no_truncate": (
        "CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse()"
    ),
    "audit_events_in_order": (
        "CREATE TRIGGER audit_events_in_order BEFORE INSERT ON audit_events "
        "FOR EACH ROW EXECUTE FUNCTION audit_events_continue()"
    ),
}


def statements(dialect: str) -> tuple[str, ...]:
    """Return the SQL that makes the triggers, in order."""
    if dialect == "sqlite":
        return tuple(SQLITE.values())
    functions = (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${source}$$"
        for name, source in POSTGRESQL_FUNCTIONS.items()
    )
    return (*functions, *POSTGRESQL.values())
