"""The node's tables and how to open them: SQLite by default, PostgreSQL by URL."""

from medfake_pacs.database.engine import open_engine, reading, transaction
from medfake_pacs.database.migrate import upgrade

__all__ = ["open_engine", "reading", "transaction", "upgrade"]
