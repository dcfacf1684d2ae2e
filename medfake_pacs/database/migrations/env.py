"""Run by alembic: migrate on the connection that the caller opened, or on one made from the URL."""

import sqlalchemy as sa
from alembic import context

from medfake_pacs.database.console_tables import metadata


def _run(connection: sa.Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=False)
    context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    url = context.config.get_main_option("sqlalchemy.url")
    with sa.create_engine(url or "sqlite://").begin() as made:
        _run(made)
