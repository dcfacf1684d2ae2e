"""The spool: where received objects become durable, and how they are found again after a crash."""

from medfake_pacs.spool.incoming import IncomingObject
from medfake_pacs.spool.spool import Spool

__all__ = ["IncomingObject", "Spool"]
