"""A PostgreSQL server of one's own on loopback, from the installed package."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.support import free_port, wait_for


def programs() -> Path | None:
    """Return the folder of the newest installed server's programs; None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


@contextmanager
def running_server(folder: Path, binaries: Path, options: Sequence[str] = ()) -> Iterator[str]:
    """Yield the URL, without a database name, of a server whose data are in ``folder``; they stay there.

    The folder and those above it must be open to the account ``postgres`` where this runs as root.
    """
    data = folder / "data"
    if not data.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        init = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "medfake", "-E", "UTF8"]
        subprocess.run(_as_unprivileged([*init, "--locale=C.UTF-8"]), check=True, capture_output=True, cwd="/")
    port = free_port()
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    command += ["-c", f"unix_socket_directories={folder}", "-c", "max_connections=200", *options]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(_as_unprivileged(command), stdout=log, stderr=log, cwd="/")
    url = f"postgresql+psycopg://medfake@127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(f"{url}/postgres"), 60, "PostgreSQL to listen")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)


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
