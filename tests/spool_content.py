"""A node's spool and database with some images in them, for the reader that learns from both."""

import time
from pathlib import Path

import pydicom
import sqlalchemy as sa

from medfake_pacs.database import transaction, upgrade
from medfake_pacs.database.console_tables import reviews, users
from medfake_pacs.database.intake import record_instance
from medfake_pacs.database.tables import studies, verdicts
from medfake_pacs.entities import Peer, ReceivedInstance
from medfake_pacs.spool import Spool
from tests.unit.datasets_support import hounsfield, write_slice

PEER = Peer(association_id="", calling_ae_title="CT1", called_ae_title="MEDFAKE", host="127.0.0.1")


class Node:
    """The state of a node that received some images."""

    def __init__(self, state_dir: Path, engine: sa.Engine) -> None:
        self.state_dir = state_dir
        self.engine = engine
        upgrade(self.engine)
        self._spool = Spool(state_dir / "spool", 0)

    def close(self) -> None:
        """Ends what was started."""
        self._spool.close()
        self.engine.dispose()

    def receive(self, number: int, **attributes: str) -> str:
        """Keeps one image of a study of its own; returns the study."""
        path = self.state_dir / "incoming.dcm"
        write_slice(hounsfield(number), path, patient=f"MRN-{number}", series=f"1.2.{number}", **attributes)
        image = pydicom.dcmread(path, stop_before_pixels=True)
        received = ReceivedInstance(
            sop_class_uid=str(image.SOPClassUID),
            sop_instance_uid=str(image.SOPInstanceUID),
            transfer_syntax_uid=str(image.file_meta.TransferSyntaxUID),
            path=path,
            peer=PEER,
            received_at=time.time(),
        )
        with transaction(self.engine) as connection:
            record_instance(connection, self._spool.keep(received))
        return str(image.StudyInstanceUID)

    def judge(self, study: str, verdict: str, opinion: str = "") -> None:
        """Gives a study a verdict, and what a radiologist thinks of it."""
        row = {"study_instance_uid": study, "revision": 1, "created_at": 1.0}
        judged = {"scope": "study", "scope_uid": study, "verdict": verdict, "images_total": 1, "images_scored": 1}
        with transaction(self.engine) as connection:
            connection.execute(sa.insert(verdicts).values(**row, **judged))
            connection.execute(sa.update(studies).where(studies.c.study_instance_uid == study).values(verdict=verdict))
            if not opinion:
                return
            if not connection.execute(sa.select(users.c.user_id)).all():
                connection.execute(sa.insert(users).values(user_id=1, user_name="r", created_at=1))
            connection.execute(
                sa.insert(reviews).values(**row, user_id=1, user_name="r", display_name="R", opinion=opinion)
            )
