"""Keep on each study what the worklist shows of its newest verdict."""

import sqlalchemy as sa

from medfake_pacs.entities import Verdict


def record_verdict(connection: sa.Connection, verdict: Verdict, now: float) -> None:
    """Write the verdict into the study's row, in the transaction that records it."""
