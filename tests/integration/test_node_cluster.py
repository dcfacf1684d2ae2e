"""Two nodes on one PostgreSQL and one spool: what a dead one had in hand is finished by the other."""

from pathlib import Path

from tests import material
from tests.integration.conftest import ROUTES
from tests.node import NodeProcess
from tests.orthanc import OrthancPeer
from tests.support import wait_for


def test_a_living_node_finishes_the_work_of_a_dead_one(
    orthanc: OrthancPeer, postgresql_url: str, model_cache: Path, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    nodes = []
    for name in ("a", "b"):
        node = NodeProcess(
            tmp_path / name,
            destinations=[("pacs", orthanc.ae_title, orthanc.dicom_port)],
            routes=ROUTES,
            database_url=postgresql_url,
            cache=model_cache,
        )
        (node.state_dir / "spool").symlink_to(spool)
        nodes.append(node)
    first, second = nodes
    with first, second:
        marker = tmp_path / "crashed"
        first.start(
            {
                "MEDFAKE_CRASH_POINT": "worker.chunk-scored",
                "MEDFAKE_CRASH_MARKER": str(marker),
                "MEDFAKE_CRASH_SCOPE": "group",
            }
        )
        series = material.ct_series(3)
        assert material.send(first.port, series) == [0, 0, 0]
        wait_for(first.is_dead, 60, "the first node to die with a chunk in hand")
        assert first.rows("instances", state="queued")
        second.start()
        second.wait_idle(3, timeout_s=120)
        assert len(orthanc.reports_of(series[0].StudyInstanceUID)) == 1
        assert len(second.rows("audit_events", kind="image-scored")) == 3
        assert second.command("audit", "verify").returncode == 0
        assert second.stop() == 0
