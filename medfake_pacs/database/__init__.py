"""The node's tables and how to open them: SQLite by default, PostgreSQL by URL."""

from medfake_pacs.database.engine import database_id, open_engine, reading, transaction
from medfake_pacs.database.migrate import upgrade

__all__ = ["database_id", "open_engine", "reading", "transaction", "upgrade"]
