"""The configuration in force as tables of keys and values, without secrets, and whether the file still says so."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from medfake_pacs.config import Settings, load_settings
from medfake_pacs.config.digest import configuration_digest
from medfake_pacs.config.masking import masked
from medfake_pacs.console.queries.facts import Fact, seconds_of
from medfake_pacs.database.tables import audit_events
from medfake_pacs.errors import ConfigurationError

_SEARCHED_EVENTS = 50


class ConfigurationTable(Fact):
    """One table of the configuration; ``header`` is as in TOML, values are written as TOML writes them."""

    header: str
    values: tuple[tuple[str, str], ...]


class ConfigurationState(Fact):
    """What runs, since when, and whether the file says the same."""

    path: str
    sha256: str
    in_force_since: float | None
    tables: tuple[ConfigurationTable, ...]
    differs: str
    problems: tuple[str, ...]


def configuration_state(connection: sa.Connection, settings: Settings, path: Path) -> ConfigurationState:
    """Return the configuration that this process runs with."""
    digest = configuration_digest(settings)
    differs, problems = _compare(digest, path)
    return ConfigurationState(
        path=str(path),
        sha256=digest,
        in_force_since=_since(connection, digest),
        tables=tuple(configuration_tables(settings)),
        differs=differs,
        problems=problems,
    )


def configuration_tables(settings: Settings) -> list[ConfigurationTable]:
    """Return the settings table by table, secrets masked."""
    found: list[ConfigurationTable] = []
    for name, value in settings.model_dump(mode="json", by_alias=True).items():
        if isinstance(value, Mapping):
            _add(found, f"[{name}]", name, value)
        elif isinstance(value, list):
            for item in value:
                _add(found, f"[[{name}]]", name, item)
        else:
            found.append(ConfigurationTable(header=f"# [{name}]", values=()))
    return found


def _add(found: list[ConfigurationTable], header: str, name: str, table: Mapping[str, Any]) -> None:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    values = tuple(
        (key, _toml(masked(key, value))) for key, value in table.items() if key not in inner and value is not None
    )
    found.append(ConfigurationTable(header=header, values=values))
    for key, value in inner.items():
        _add(found, f"[{name}.{key}]", f"{name}.{key}", value)


def _toml(value: Any) -> str:
    """Return a value as TOML writes it: for these kinds JSON does, too."""
    return json.dumps(value, ensure_ascii=False)


def _since(connection: sa.Connection, digest: str) -> float | None:
    """Return since when the log has this configuration in force; None if no worker has started with it."""
    columns = audit_events.c
    query = sa.select(columns.occurred_at, columns.payload).where(columns.kind == "configuration-loaded")
    for row in connection.execute(query.order_by(columns.seq.desc()).limit(_SEARCHED_EVENTS)):
        if digest in row.payload:
            return seconds_of(row.occurred_at)
    return None


def _compare(digest: str, path: Path) -> tuple[str, tuple[str, ...]]:
    """Return what differs between what runs and what a restart would run, and the mistakes that prevent one."""
    try:
        now = configuration_digest(load_settings(path))
    except ConfigurationError as error:
        return "The file on disk can't be used: a restart would fail.", tuple(map(str, error.problems))
    if now != digest:
        return "The file on disk says something else than what runs: restart the node to use it.", ()
    return "", ()
