"""The sender killed by SIGKILL at each of its points: then each report is sent, and recorded once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.tables import reports
from medfake_pacs.delivery import enqueue, listing
from medfake_pacs.entities import Report
from tests.delivery_peers import outgoing, scripted_peer
from tests.support import REPOSITORY

_REPORTS = 3
_SENDER = """
import sys, time
from medfake_pacs import crashpoints
from medfake_pacs.config import DestinationSettings
from medfake_pacs.database import open_engine, reading, transaction
from medfake_pacs.delivery import OutgoingReport, due, record, send_batch
engine = open_engine(sys.argv[1])
settings = DestinationSettings(name="pacs", ae_title="ARCHIVE", host="127.0.0.1", port=int(sys.argv[2]), timeout_s=30)
with reading(engine) as connection:
    found = due(connection, "pacs", time.time(), 10, settings.retry)
items = [OutgoingReport(delivery_id=item.delivery_id, report_uid=item.report_uid, path=item.path,
                        comprehensive=lambda: None, attempt=item.attempt) for item in found]
outcomes = send_batch(settings, "MEDFAKE", items)
crashpoints.reach("delivery.before-record")
with transaction(engine) as connection:
    for outcome in outcomes:
        record(connection, outcome, settings.retry, time.time(), ae_title="ARCHIVE")
crashpoints.reach("delivery.after-record")
"""


@pytest.mark.parametrize(
    "point", ["before-associate", "after-associate", "after-response", "before-record", "after-record"]
)
def test_nothing_is_lost_and_nothing_recorded_twice(tmp_path: Path, point: str) -> None:
    url = f"sqlite:///{tmp_path / 'medfake.db'}"
    engine = open_engine(url)
    upgrade(engine)
    uids = []
    for number in range(1, _REPORTS + 1):
        item = outgoing(tmp_path, number)
        report = Report(
            sop_instance_uid=item.report_uid,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
            study_instance_uid="1.2.3",
            revision=number,
            path=item.path,
            sha256="ab" * 32,
        )
        row = {name: getattr(report, name) for name in report.__slots__} | {"path": str(item.path), "created_at": 1.0}
        with transaction(engine) as connection:
            connection.execute(sa.insert(reports).values(row))
            enqueue(connection, report, ["pacs"], 1.0)
        uids.append(item.report_uid)
    marker = tmp_path / "reached"
    environment = os.environ | {"MEDFAKE_CRASH_POINT": f"delivery.{point}", "MEDFAKE_CRASH_MARKER": str(marker)}
    with scripted_peer() as peer:
        command = [sys.executable, "-c", _SENDER, url, str(peer.port)]
        endings = [subprocess.run(command, check=False, cwd=REPOSITORY, env=environment).returncode for _ in range(2)]
        received = [each.SOPInstanceUID for each in peer.received]
    assert endings == [-signal.SIGKILL, 0]
    assert marker.exists()
    assert set(received) == set(uids)
    with reading(engine) as connection:
        delivered = list(listing(connection, with_attempts=True))
        sent = [row.sop_instance_uid for row in audit.query(connection) if row.kind == "report-sent"]
        assert audit.verify(connection).ok
    engine.dispose()
    assert [(each.state, len(each.history), each.last_comment) for each in delivered] == [("sent", 1, "")] * _REPORTS
    assert sorted(sent) == sorted(uids)
