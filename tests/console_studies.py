"""Studies as the console finds them: received, scored by made-up scores, assessed by the real workflows."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from pydicom import Dataset

from medfake_pacs.config import Settings
from medfake_pacs.database import reading, transaction
from medfake_pacs.database.engine import insert_into
from medfake_pacs.database.intake import record_instance
from medfake_pacs.database.tables import instances, scores
from medfake_pacs.entities import FrameScore, Peer, ReceivedInstance, Region, Score
from medfake_pacs.spool import Spool
from medfake_pacs.workflows import completion
from medfake_pacs.workflows.assessment import assess_revision
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.reporting import report_revision
from medfake_pacs.workflows.rows import score_to_json

MODEL = "lung-ct"
REAL_LOGIT, FAKE_LOGIT = -20.0, 20.0
NODULE = Region(x=32, y=32, width=64, height=32, score=FAKE_LOGIT)


class Studies:
    """What a node's receiver and worker would have made, without either; ``context`` is the worker's."""

    def __init__(self, settings: Settings, engine: sa.Engine, folder: Path) -> None:
        self.context = Context.open(settings, engine)
        self._spool = Spool(settings.spool_dir, 0, "test")
        self._folder = folder

    def close(self) -> None:
        """End what was started."""
        self._spool.close()
        self.context.decoders.close()

    def receive(self, datasets: Sequence[Dataset], *, calling: str = "PACS1") -> list[int]:
        """Keep the objects as the receiver does; return their instance ids."""
        peer = Peer(association_id="", calling_ae_title=calling, called_ae_title="MEDFAKE", host="127.0.0.1")
        ids = []
        for dataset in datasets:
            path = self._folder / "incoming.dcm"
            dataset.save_as(path, enforce_file_format=True)
            received = ReceivedInstance(
                sop_class_uid=str(dataset.SOPClassUID),
                sop_instance_uid=str(dataset.SOPInstanceUID),
                transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
                path=path,
                peer=peer,
                received_at=time.time(),
            )
            spooled = self._spool.keep(received)
            with transaction(self.context.engine) as connection:
                ids.append(record_instance(connection, spooled).instance_id)
        return ids

    def score(self, logit_of: Callable[[sa.Row], float | None], *, model: str = MODEL, route: str = "CT") -> None:
        """Give every image that has none a score; where ``logit_of`` returns None it couldn't be decoded."""
        model_sha256 = self.context.models.bundle(model).model_sha256
        with transaction(self.context.engine) as connection:
            rows = connection.execute(sa.select(instances).where(instances.c.state == "received")).all()
            for row in rows:
                logit = logit_of(row)
                values = {"state": "done", "route": route, "model_sha256": model_sha256}
                if logit is None:
                    values |= {"not_assessed_reason": "truncated pixel data: 12 of 32768 bytes"}
                else:
                    values |= {"pixel_sha256": row.content_sha256}
                    self._insert_score(connection, row, model_sha256, logit)
                mine = instances.c.instance_id == row.instance_id
                connection.execute(sa.update(instances).where(mine).values(values))

    def _insert_score(self, connection: sa.Connection, row: sa.Row, model_sha256: str, logit: float) -> None:
        cells = [[REAL_LOGIT] * 4 for _ in range(4)]
        cells[1][1] = cells[1][2] = logit
        frames = tuple(
            FrameScore(
                frame_number=number,
                score=logit,
                regions=(NODULE,) if logit > 0 else (),
                tiles=tuple(tuple(each) for each in cells),
            )
            for number in range(1, row.number_of_frames + 1)
        )
        score = Score(pixel_sha256=row.content_sha256, model_sha256=model_sha256, frames=frames, engine="test")
        statement = insert_into(connection, scores).values(
            pixel_sha256=score.pixel_sha256,
            model_sha256=model_sha256,
            frames=score_to_json(score),
            engine=score.engine,
            scored_at=time.time(),
        )
        connection.execute(statement.on_conflict_do_nothing())

    def assess(self) -> None:
        """Close every open revision, record its verdict, its report and its deliveries."""
        completion.complete_studies(self.context, time.time() + 3600)
        for item in completion.assessable_revisions(self.context, time.time() + 7200):
            assess_revision(self.context, item.study_instance_uid, item.revision)
            report_revision(self.context, item.study_instance_uid, item.revision)

    def make(
        self, datasets: Sequence[Dataset], logit_of: Callable[[sa.Row], float | None] = lambda _row: REAL_LOGIT
    ) -> str:
        """Receive, score and assess; return the Study Instance UID."""
        self.receive(datasets)
        self.score(logit_of)
        self.assess()
        return str(datasets[0].StudyInstanceUID)

    def path_of(self, instance_id: int) -> Path:
        """Return where an image's file is."""
        query = sa.select(instances.c.path).where(instances.c.instance_id == instance_id)
        with reading(self.context.engine) as connection:
            return self.context.settings.spool_dir / str(connection.execute(query).scalar_one())


def fake_from(first: int, last: int) -> Callable[[sa.Row], float]:
    """Return the scores of a series whose images ``first`` to ``last``, by Instance Number, are fake."""
    return lambda row: FAKE_LOGIT if first <= (row.instance_number or 0) <= last else REAL_LOGIT


@contextmanager
def studies_of(settings: Settings, engine: sa.Engine, folder: Path) -> Iterator[Studies]:
    """Yield a maker of studies on a console's node."""
    made = Studies(settings, engine, folder)
    try:
        yield made
    finally:
        made.close()
