"""Fixtures that several kinds of test use: the two databases."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support import IN_CI, free_port, wait_for

_POSTGRESQL_VARIABLE = "MEDFAKE_TEST_POSTGRESQL"


def _postgresql_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def _answers(url: str) -> bool:
    engine = sa.create_engine(url)
    try:
        with engine.connect():
            return True
    except sa.exc.OperationalError:
        return False
    finally:
        engine.dispose()


def _as_unprivileged(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root; its package brings an account for it."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a throw-away PostgreSQL server on loopback, without a database name."""
    given = os.environ.get(_POSTGRESQL_VARIABLE)
    if given:
        yield given.rstrip("/")
        return
    programs = _postgresql_programs()
    if programs is None:
        if IN_CI:
            pytest.fail("PostgreSQL is not installed: .ci/run installs it")
        pytest.skip("PostgreSQL is not installed")
    folder = Path("/tmp") / f"medfake-pg-{uuid.uuid4().hex[:12]}"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    port = free_port()
    data = str(folder / "data")
    init = [str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "medfake", "-E", "UTF8", "--locale=C.UTF-8"]
    subprocess.run(_as_unprivileged(init), check=True, capture_output=True, cwd="/")
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    options += ["-c", "max_connections=200"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            _as_unprivileged([str(programs / "postgres"), "-D", data, *options]), stdout=log, stderr=log, cwd="/"
        )
    url = f"postgresql+psycopg://medfake@127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(f"{url}/postgres"), 30, "PostgreSQL to listen")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)
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
