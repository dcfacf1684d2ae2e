"""Whether the database still refuses to change the log: the triggers that the migration made, word for word."""

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from medfake_pacs.database import log_triggers

_SQLITE = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = 'audit_events'"
_POSTGRESQL = (
    "SELECT tgname, CASE WHEN tgenabled IN ('O', 'A') THEN pg_get_triggerdef(oid, true) ELSE 'switched off' END "
    "FROM pg_trigger WHERE tgrelid = 'audit_events'::regclass AND NOT tgisinternal"
)
# What a trigger runs is named by its text; which function that is, the trigger itself says (tgfoid).
_POSTGRESQL_FUNCTIONS = (
    "SELECT p.proname, CASE WHEN l.lanname = 'plpgsql' AND p.proconfig IS NULL THEN p.prosrc ELSE '' END "
    "FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang "
    "WHERE t.tgrelid = 'audit_events'::regclass AND NOT t.tgisinternal"
)


def missing_protection(connection: sa.Connection) -> tuple[str, ...]:
    """Return a sentence for each trigger on the log that is gone, switched off, changed or not the node's."""
    if connection.dialect.name == "sqlite":
        return tuple(_differences("trigger", _texts(connection, _SQLITE), log_triggers.SQLITE))
    triggers = _differences("trigger", _texts(connection, _POSTGRESQL), log_triggers.POSTGRESQL)
    functions = _texts(connection, _POSTGRESQL_FUNCTIONS)
    return (*triggers, *_differences("function", functions, log_triggers.POSTGRESQL_FUNCTIONS))


def _texts(connection: sa.Connection, query: str) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.exec_driver_sql(query)}


def _differences(what: str, found: Mapping[str, str], expected: Mapping[str, str]) -> Iterator[str]:
    for name, text in expected.items():
        if name not in found:
            yield f"the {what} {name} is gone: nothing refuses what it refused on the log"
        elif found[name] != text:
            yield f"the {what} {name} isn't the one that was made: it may refuse nothing on the log"
    for name in sorted(set(found) - set(expected)):
        yield f"the {what} {name} on the log isn't one of the node's"
