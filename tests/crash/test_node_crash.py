"""kill -9 of the receiver, the worker and of everything, at named points; nothing answered with Success is lost.

The sender does what a PACS does: what wasn't answered with Success is sent again.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info

from medfake_pacs import audit
from medfake_pacs.database import open_engine, reading
from tests import material
from tests.node import NodeProcess
from tests.orthanc import OrthancPeer
from tests.support import wait_for

MakeNode = Callable[..., NodeProcess]
RECEIVER = (
    "receiver.association-accepted",
    "receiver.first-fragment",
    "receiver.before-fsync",
    "receiver.after-fsync",
    "receiver.after-rename",
    "receiver.after-directory-fsync",
    "receiver.in-transaction",
    "receiver.after-commit",
    "receiver.before-response",
    "receiver.association-released",
)
WORKER = (
    "worker.chunk-loaded",
    "worker.chunk-scored",
    "worker.chunk-recorded",
    "worker.completing-study",
    "worker.before-verdict",
    "worker.verdict-in-transaction",
    "worker.report-written",
    "worker.report-recorded",
    "delivery.after-response",
    "delivery.before-record",
)
EVERYTHING = (
    "receiver.first-fragment",
    "receiver.after-rename",
    "receiver.in-transaction",
    "receiver.after-commit",
    "worker.chunk-scored",
    "worker.completing-study",
    "worker.verdict-in-transaction",
    "worker.report-written",
    "delivery.after-associate",
    "delivery.after-response",
)
CASES = [(point, "process") for point in (*RECEIVER, *WORKER)] + [(point, "group") for point in EVERYTHING]
IMAGES = 3
SEND_TIMEOUT_S = 5.0
# The sender's pynetdicom drops its socket unclosed when the peer dies.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancPeer]:
    """Yield an Orthanc that outlives the nodes."""
    peer = OrthancPeer(tmp_path_factory.mktemp("orthanc"))
    peer.start()
    yield peer
    peer.stop()


@pytest.mark.parametrize(("point", "scope"), CASES, ids=[f"{scope}-{point}" for point, scope in CASES])
def test_nothing_is_lost_or_doubled(
    archive: OrthancPeer, make_node: MakeNode, tmp_path: Path, point: str, scope: str
) -> None:
    marker = tmp_path / "crashed"
    node = make_node(destinations=[("pacs", archive.ae_title, archive.dicom_port)])
    node.start({"MEDFAKE_CRASH_POINT": point, "MEDFAKE_CRASH_MARKER": str(marker), "MEDFAKE_CRASH_SCOPE": scope})
    series = material.ct_series(IMAGES)
    unanswered = _send_once(node, series)
    wait_for(marker.exists, 60, f"a crash at {point}")
    if scope == "group":
        wait_for(node.is_dead, 20, "every process to be gone")
        node.kill()
        node.start()
    _send_all(node, unanswered)
    node.wait_idle(IMAGES)
    _assert_whole(node, series, archive)
    assert node.stop() == 0


def _send_once(node: NodeProcess, series: list[Dataset]) -> list[Dataset]:
    statuses = material.send(node.port, series, timeout_s=SEND_TIMEOUT_S)
    return [item for item, status in zip(series, statuses, strict=True) if status != 0]


def _send_all(node: NodeProcess, unanswered: list[Dataset]) -> None:
    left = list(unanswered)

    def again() -> bool:
        if left and node.is_listening():
            left[:] = _send_once(node, left)
        return not left

    wait_for(again, 60, "the receiver to take what it had not answered")


def _assert_whole(node: NodeProcess, series: list[Dataset], archive: OrthancPeer) -> None:
    study_uid = series[0].StudyInstanceUID
    for sent in series:
        (row,) = node.rows("instances", sop_instance_uid=sent.SOPInstanceUID)
        path = node.state_dir / "spool" / row.path
        assert _content_sha256(path) == row.content_sha256
        assert dcmread(path).PixelData == sent.PixelData
        assert len(node.rows("audit_events", kind="image-scored", sop_instance_uid=sent.SOPInstanceUID)) == 1
    revisions = [row.revision for row in node.rows("revisions", study_instance_uid=study_uid, state="assessed")]
    assert revisions == list(range(1, len(revisions) + 1))
    verdicts = node.rows("verdicts", scope="study", study_instance_uid=study_uid)
    assert [row.revision for row in verdicts] == revisions
    assert verdicts[-1].images_total == IMAGES
    assert len(node.rows("audit_events", kind="study-verdict", study_instance_uid=study_uid)) == len(revisions)
    reports = {row.sop_instance_uid: row.revision for row in node.rows("reports", study_instance_uid=study_uid)}
    assert sorted(reports.values()) == revisions
    stored = sorted(_report_uids(archive, study_uid))
    assert stored == sorted(reports)
    assert [row.state for row in node.rows("deliveries", study_instance_uid=study_uid)] == ["sent"] * len(revisions)
    engine = open_engine(node.database_url)
    with reading(engine) as connection:
        assert audit.verify(connection, None).ok
    engine.dispose()


def _report_uids(archive: OrthancPeer, study_uid: str) -> list[str]:
    uids = []
    for series in archive.series_of(study_uid, "SR"):
        uids += [archive.get(f"/instances/{item}")["MainDicomTags"]["SOPInstanceUID"] for item in series["Instances"]]
    return uids


def _content_sha256(path: Path) -> str:
    meta = read_file_meta_info(path)
    data_set = path.read_bytes()[144 + int(meta.FileMetaInformationGroupLength) :]
    return hashlib.sha256(meta.TransferSyntaxUID.encode() + b"\x00" + data_set).hexdigest()
