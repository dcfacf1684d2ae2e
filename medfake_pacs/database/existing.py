"""For commands that read a node's database: open it if it is there, and say who reads."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.database.engine import open_engine, reading


@contextmanager
def existing_engine(database_url: str, table: sa.Table, what: str) -> Iterator[sa.Engine | None]:
    """Yield an engine on the node's database, or None, having said that there is no ``what``, if it has no ``table``.

    Unlike ``open_engine`` it makes no database where there is none.
    """
    url = sa.make_url(database_url)
    missing = url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file()
    engine = None if missing else open_engine(database_url)
    try:
        if engine is not None:
            with reading(engine) as connection:
                missing = not sa.inspect(connection).has_table(table.name)
        if missing:
            print(f"there is no {what} yet in {url.render_as_string()}", file=sys.stderr)
        yield None if missing else engine
    finally:
        if engine is not None:
            engine.dispose()


def account_name() -> str:
    """Return the name of the account that runs this process, for the log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
