"""What goes wrong in a real node's life: a broken bundle, a killer image, a new model, retention, a wrong clock."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from medfake_pacs.config import load_settings
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.tables import instances, revisions, studies
from medfake_pacs.workflows import completion, housekeeping, scoring
from medfake_pacs.workflows import deliveries as sending
from medfake_pacs.workflows.context import Context
from tests import material
from tests.integration.conftest import ROUTES
from tests.node import NodeProcess
from tests.orthanc import OrthancPeer
from tests.support import free_port, wait_for

MakeNode = Callable[..., NodeProcess]
ContextOf = Callable[[NodeProcess], Context]
TO_NOBODY = ROUTES.replace('send_to = ["pacs"]\n', "")


@pytest.fixture
def stopped(make_node: MakeNode) -> NodeProcess:
    """Return a node that has taken and assessed one image of one study, and was stopped."""
    node = make_node(routes=TO_NOBODY).start()
    assert material.send(node.port, material.ct_series(1)) == [0]
    node.wait_idle(1)
    assert node.stop() == 0
    return node


@pytest.fixture
def context_of() -> Iterator[Callable[[NodeProcess], Context]]:
    """Yield a function that opens a worker's context on a stopped node's state; all are closed at the end."""
    opened: list[Context] = []

    def open_context(node: NodeProcess) -> Context:
        settings = load_settings(node.config)
        opened.append(Context.open(settings, open_engine(settings.database_url)))
        return opened[-1]

    yield open_context
    for context in opened:
        context.decoders.close()
        context.engine.dispose()


def test_a_damaged_bundle_stops_the_start_with_its_name_and_is_no_verdict(
    make_node: MakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node(routes=TO_NOBODY)
    models = tmp_path / "models"
    shutil.copytree(load_settings(node.config).models_dir, models)
    monkeypatch.setenv("MEDFAKE_SCORING__MODELS_DIR", str(models))
    weights = models / "lung-ct" / "weights.safetensors"
    good = weights.read_bytes()
    node.start()
    node.stop()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    done = node.command("serve")
    assert done.returncode == 1
    assert "lung-ct" in done.stderr
    weights.write_bytes(good)
    node.start()
    assert material.send(node.port, material.ct_series(1)) == [0]
    node.wait_idle(1)


def test_the_image_that_kills_the_worker_is_given_up_and_its_neighbours_are_not(
    stopped: NodeProcess, context_of: ContextOf
) -> None:
    context = context_of(stopped)
    with transaction(context.engine) as connection:
        row = connection.execute(sa.select(instances)).mappings().one()
        for number in range(3):
            copy = {key: value for key, value in row.items() if key != "instance_id"}
            copy |= {"sop_instance_uid": f"1.2.{number}", "state": "received", "scoring_process": None}
            connection.execute(sa.insert(instances).values(copy))
    (chunk_id,) = scoring.claim_chunks(context)
    killer = "1.2.1"

    def crash_with(uids: list[str], crashes: int) -> None:
        mine = instances.c.sop_instance_uid.in_(uids)
        with transaction(context.engine) as connection:
            connection.execute(sa.update(instances).where(mine).values(scoring_process="dead", crashes=crashes))

    crash_with([killer], 2)
    assert scoring.score_chunk(context, chunk_id) == 3
    reasons = {row.sop_instance_uid: row.not_assessed_reason for row in stopped.rows("instances", chunk_id=chunk_id)}
    assert reasons == {"1.2.0": None, killer: "the process that scored it died 3 times", "1.2.2": None}


def test_scores_of_a_replaced_model_are_made_anew_and_never_mixed(stopped: NodeProcess) -> None:
    (before,) = stopped.rows("instances")
    engine = open_engine(stopped.database_url)
    with transaction(engine) as connection:
        connection.execute(sa.update(instances).values(model_sha256="0" * 64))
    engine.dispose()
    stopped.start()
    late = material.ct_series(
        1, study_uid=before.study_instance_uid, series_uid=before.series_instance_uid, start=2, seed=5
    )
    assert material.send(stopped.port, late) == [0]
    stopped.wait_idle(2, timeout_s=120)
    assert {row.model_sha256 for row in stopped.rows("instances")} == {before.model_sha256}
    (verdict,) = stopped.rows("verdicts", scope="study", revision=2)
    assert verdict.verdict in {"real", "fake", "indeterminate"}
    assert verdict.images_total == 2


def test_retention_deletes_files_of_settled_studies_only_and_keeps_rows(
    stopped: NodeProcess, context_of: ContextOf
) -> None:
    context = context_of(stopped)
    (row,) = stopped.rows("instances")
    path = context.settings.spool_dir / row.path
    later = time.time() + 8 * 86_400

    def expire(**change: object) -> int:
        with transaction(context.engine) as connection:
            connection.execute(sa.update(revisions).values(**change))
        return housekeeping.expire(context, later)

    assert housekeeping.expire(context, time.time()) == 0
    assert expire(state="completed") == 0
    assert path.is_file()
    assert expire(state="assessed") == 1
    assert not path.exists()
    assert len(stopped.rows("instances")) == 1
    assert housekeeping.expire(context, later) == 0


def test_retention_that_is_broken_off_goes_on_the_next_time(
    stopped: NodeProcess, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, or refused by the disk: a study only counts as expired when its files are gone."""
    context = context_of(stopped)
    (row,) = stopped.rows("instances")
    path = context.settings.spool_dir / row.path
    later = time.time() + 8 * 86_400

    def raises(error: BaseException) -> Callable[..., None]:
        def unlink(_path: object, missing_ok: bool = False) -> None:
            raise error

        return unlink

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "unlink", raises(PermissionError(13, "Permission denied")))
        assert housekeeping.expire(context, later) == 0
        patch.setattr(type(path), "unlink", raises(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            housekeeping.expire(context, later)
    assert path.is_file()
    assert stopped.rows("studies")[0].expired_at is None
    assert housekeeping.expire(context, later) == 1
    assert not path.exists()
    assert stopped.rows("studies")[0].expired_at == later


def test_a_clock_that_was_set_back_does_not_hold_a_study_for_ever(stopped: NodeProcess, context_of: ContextOf) -> None:
    context = context_of(stopped)
    ahead = time.time() + 365 * 86_400
    with transaction(context.engine) as connection:
        connection.execute(sa.update(studies).values(opened_at=ahead, last_received_at=ahead))
        connection.execute(sa.update(instances).values(received_at=ahead, revision=None))
    assert completion.complete_studies(context, time.time()) == 1


def test_a_failed_assessment_is_put_off_again_and_again_and_logged(stopped: NodeProcess, context_of: ContextOf) -> None:
    context = context_of(stopped)
    now = time.time()
    with transaction(context.engine) as connection:
        connection.execute(sa.update(revisions).values(state="completed", attempts=40))
    (item,) = completion.assessable_revisions(context, now)
    delay_s = completion.postpone(context, item, now)
    assert completion.assessable_revisions(context, now) == []
    (again,) = completion.assessable_revisions(context, now + delay_s)
    assert again.attempts == item.attempts + 1
    assert completion.postpone(context, item, now) == 0.0
    assert len(stopped.rows("audit_events", kind="assessment-failed")) == 1


def test_what_waits_for_a_destination_that_is_gone_becomes_a_dead_letter(make_node: MakeNode) -> None:
    node = make_node(destinations=[("pacs", "NOWHERE", free_port())]).start()
    assert material.send(node.port, material.ct_series(1)) == [0]
    wait_for(lambda: node.rows("deliveries"), 60, "a delivery")
    node.stop()
    node.config.write_text(node.config.read_text().replace('"pacs"', '"archive"'))
    node.start()
    wait_for(lambda: node.rows("deliveries", state="dead"), 30, "a dead letter")
    (row,) = node.rows("audit_events", kind="delivery-dead")
    assert "no destination is named" in row.payload


def test_a_report_that_is_recorded_is_never_written_again(
    orthanc: OrthancPeer, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, context_of: ContextOf
) -> None:
    node = make_node(destinations=[("pacs", orthanc.ae_title, orthanc.dicom_port)]).start()
    assert material.send(node.port, material.ct_series(1)) == [0]
    node.wait_idle(1)
    node.stop()
    (report,) = node.rows("reports")
    context = context_of(node)
    path = context.settings.spool_dir / report.path
    before = path.read_bytes()
    monkeypatch.setenv("MEDFAKE_REPORT__PRELIMINARY", "false")
    from medfake_pacs.workflows.reporting import report_revision

    assert report_revision(context_of(node), report.study_instance_uid, 1) == []
    assert path.read_bytes() == before


def test_no_patient_data_in_the_logs(orthanc: OrthancPeer, make_node: MakeNode) -> None:
    node = make_node(destinations=[("pacs", orthanc.ae_title, orthanc.dicom_port)], extra='[log]\nlevel = "debug"\n')
    node.start()
    series = material.ct_series(2)
    for item in series:
        item.PatientID, item.PatientName, item.AccessionNumber = "PHI-4711", "Doe^PHIName", "PHI-ACC"
    series[1].PixelData = series[1].PixelData[:100]
    assert material.send(node.port, series) == [0, 0]
    node.wait_idle(2)
    assert node.stop() == 0
    text = node.log_path.read_text()
    assert "study complete" in text
    assert "PHI" not in text


def test_a_database_that_is_out_of_reach_is_named_without_a_traceback(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"
    node = NodeProcess(tmp_path / "node", database_url=url)
    for command in (("audit", "verify"), ("audit", "query"), ("deliveries", "list"), ("serve",)):
        done = node.command(*command)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("medfake-pacs:")


def test_the_supervisor_starts_a_killed_process_again_and_dies_with_no_orphans(make_node: MakeNode) -> None:
    node = make_node(routes=TO_NOBODY).start()
    wait_for(lambda: any(line["event"] == "working" for line in node.log_lines()), 60, "the worker")
    children = subprocess.run(["pgrep", "-P", str(node.pid)], capture_output=True, text=True, check=True).stdout.split()
    assert len(children) == 2
    for child in children:
        subprocess.run(["kill", "-9", child], check=True)

    def again() -> list[str]:
        return [line["event"] for line in node.log_lines() if line["event"] in {"working", "listening"}]

    wait_for(lambda: len(again()) == 4, 60, "both processes to be back")
    assert material.send(node.port, material.ct_series(1)) == [0]
    node.wait_idle(1)
    subprocess.run(["kill", "-9", str(node.pid)], check=True)
    group = str(node.pid)
    wait_for(
        lambda: (
            node.is_dead() and subprocess.run(["pgrep", "-g", group], capture_output=True, check=False).returncode == 1
        ),
        60,
        "every process to follow its supervisor",
    )


def test_the_queries_of_the_clock_use_indices(tmp_path: Path, database_url: str, context_of: ContextOf) -> None:
    if database_url:
        pytest.skip("the plan of an empty PostgreSQL table says nothing")
    node = NodeProcess(tmp_path / "node")
    context = context_of(node)
    upgrade(context.engine)
    seen: list[tuple[str, tuple[object, ...]]] = []
    sa.event.listen(context.engine, "before_cursor_execute", lambda *a: seen.append((a[2], a[3])))
    now = time.time()
    scoring.claim_chunks(context)
    scoring.queued_chunks(context)
    completion.complete_studies(context, now)
    completion.assessable_revisions(context, now)
    sending.destinations_due(context, now)
    housekeeping.expire(context, now)
    plans = []
    with reading(context.engine) as connection:
        for statement, parameters in list(seen):
            if statement.startswith("SELECT"):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans += [(row.detail, statement) for row in plan]
    scans = [plan for plan in plans if plan[0].startswith("SCAN") and "USING" not in plan[0]]
    assert plans
    assert not scans


def test_a_single_image_that_cannot_be_decoded_is_reported_as_such(orthanc: OrthancPeer, make_node: MakeNode) -> None:
    node = make_node(destinations=[("pacs", orthanc.ae_title, orthanc.dicom_port)]).start()
    (image,) = material.ct_series(1)
    image.PixelData = image.PixelData[:100]
    assert material.send(node.port, [image]) == [0]
    node.wait_idle(1)
    (content,) = orthanc.reports_of(image.StudyInstanceUID)
    report = dcmread(BytesIO(content))
    assert report.CompletionFlag == "PARTIAL"
    text = report.to_json()
    assert "truncated" in text
    assert "NOT-ROUTED" not in text
    (verdict,) = node.rows("verdicts", scope="study")
    assert verdict.verdict == "not assessed"
