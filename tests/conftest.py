"""Fixtures that several kinds of test use: the two databases."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.postgresql import programs, running_server
from tests.support import IN_CI

_POSTGRESQL_VARIABLE = "MEDFAKE_TEST_POSTGRESQL"


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a throw-away PostgreSQL server on loopback, without a database name."""
    given = os.environ.get(_POSTGRESQL_VARIABLE)
    if given:
        yield given.rstrip("/")
        return
    binaries = programs()
    if binaries is None:
        if IN_CI:
            pytest.fail("PostgreSQL is not installed: .ci/run installs it")
        pytest.skip("PostgreSQL is not installed")
    folder = Path("/tmp") / f"medfake-pg-{uuid.uuid4().hex[:12]}"
    try:
        with running_server(folder, binaries) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """Yield the URL of a fresh, empty PostgreSQL database."""
    name = f"medfake_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(f"{postgresql_server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    try:
        yield f"{postgresql_server}/{name}"
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return what goes into ``database.url``: empty for SQLite in the state folder, or a fresh database's URL."""
    if request.param == "sqlite":
        return ""
    return str(request.getfixturevalue("postgresql_url"))
