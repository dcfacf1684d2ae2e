"""Each study carries what the worklist shows: from its first image, from its newest verdict, and after an upgrade."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.intake import record_instance
from medfake_pacs.database.migrate import alembic_config
from medfake_pacs.database.tables import instances, studies
from medfake_pacs.entities import (
    ImageAttributes,
    ModelIdentity,
    Peer,
    SeriesVerdict,
    SpooledInstance,
    Verdict,
    VerdictLabel,
)
from medfake_pacs.workflows.worklist import record_verdict

STUDY = "1.2.3"
FROM_FIRST_IMAGE = {
    "first_received_at": 10.0,
    "patient_id": "P1",
    "accession_number": "A1",
    "study_description": "Chest",
    "calling_ae_title": "CT1",
}


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[sa.Engine]:
    made = open_engine(database_url or f"sqlite:///{tmp_path / 'medfake.db'}")
    yield made
    made.dispose()


def image(number: int, series: str, modality: str, at: float, patient: str = "P1", ae: str = "CT1") -> SpooledInstance:
    return SpooledInstance(
        attributes=ImageAttributes(
            sop_class_uid="1.2",
            sop_instance_uid=f"1.2.9.{number}",
            study_instance_uid=STUDY,
            series_instance_uid=series,
            modality=modality,
            study_description="Chest",
            patient_id=patient,
            accession_number="A1",
        ),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        content_sha256=f"{number:064d}",
        size_bytes=1,
        path=Path("objects/aa/aa.dcm"),
        peer=Peer(association_id="x", calling_ae_title=ae, called_ae_title="B", host="127.0.0.1"),
        received_at=at,
    )


def series(uid: str, modality: str, label: VerdictLabel, probability: float | None, model: str = "") -> SeriesVerdict:
    return SeriesVerdict(
        series_instance_uid=uid,
        modality=modality,
        label=label,
        probability=probability,
        model=ModelIdentity(name=model, version="1", sha256=model.ljust(64, "0")) if model else None,
        route="",
        images_total=1,
        images_scored=int(probability is not None),
        reason="",
        findings=(),
    )


def verdict(revision: int, label: VerdictLabel, *parts: SeriesVerdict) -> Verdict:
    return Verdict(
        study_instance_uid=STUDY,
        revision=revision,
        label=label,
        probability=max((part.probability for part in parts if part.probability is not None), default=None),
        reason="",
        images_total=len(parts),
        images_scored=sum(part.images_scored for part in parts),
        series=parts,
    )


def the_study(engine: sa.Engine) -> dict[str, object]:
    with reading(engine) as connection:
        return dict(connection.execute(sa.select(studies)).mappings().one())


def keep(engine: sa.Engine, *images: SpooledInstance) -> None:
    with transaction(engine) as connection:
        for each in images:
            record_instance(connection, each)


def test_a_study_shows_what_its_first_image_said(engine: sa.Engine) -> None:
    upgrade(engine)
    keep(engine, image(1, "1.1", "SR", 10.0), image(2, "1.2", "CT", 11.0, patient="P2", ae="OTHER"))
    found = the_study(engine)
    assert found.items() >= {**FROM_FIRST_IMAGE, "modality": "SR", "verdict": "", "verdict_revision": None}.items()


def test_what_no_index_could_hold_is_shortened(engine: sa.Engine) -> None:
    upgrade(engine)
    long = "".join(chr(0x4E00 + number) for number in range(1024))
    keep(engine, image(1, "1.1", long, 10.0, patient=long))
    found = the_study(engine)
    assert (found["patient_id"], found["modality"]) == (long[:128], long[:128])


def test_the_newest_verdict_counts_and_its_series_gives_the_modality(engine: sa.Engine) -> None:
    upgrade(engine)
    keep(engine, image(1, "1.1", "SR", 10.0))
    parts = (
        series("1.1", "SR", VerdictLabel.NOT_ASSESSED, None),
        series("1.2", "CT", VerdictLabel.FAKE, 0.9, "lung-ct"),
        series("1.3", "CR", VerdictLabel.REAL, 0.1, "lung-ct"),
    )
    with transaction(engine) as connection:
        record_verdict(connection, verdict(2, VerdictLabel.FAKE, *parts), 20.0)
        record_verdict(connection, verdict(1, VerdictLabel.NOT_ASSESSED, parts[0]), 30.0)
    expected = {
        "verdict": "fake",
        "probability": 0.9,
        "verdict_revision": 2,
        "verdict_at": 20.0,
        "modality": "CT",
        "model_name": "lung-ct",
        "model_sha256": "lung-ct".ljust(64, "0"),
        "images_total": 3,
        "images_scored": 2,
    }
    assert the_study(engine).items() >= expected.items()


def test_of_several_models_none_is_named(engine: sa.Engine) -> None:
    upgrade(engine)
    keep(engine, image(1, "1.1", "DX", 10.0))
    parts = (series("1.1", "DX", VerdictLabel.REAL, 0.1, "a"), series("1.2", "CT", VerdictLabel.REAL, 0.2, "b"))
    with transaction(engine) as connection:
        record_verdict(connection, verdict(1, VerdictLabel.REAL, *parts), 20.0)
    assert the_study(engine).items() >= {"model_name": "", "model_sha256": "", "modality": "CT"}.items()


def test_an_upgrade_fills_in_the_studies_that_are_there(engine: sa.Engine) -> None:
    """As they were written before the columns were there."""
    config = alembic_config()
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for each in (image(1, "1.1", "SR", 10.0), image(2, "1.2", "CT", 11.0, patient="P2", ae="OTHER")):
            connection.execute(sa.insert(instances), _old_columns(each))
        for uid in (STUDY, "1.2.4"):
            row = {"uid": uid, "at": 11.0}
            connection.execute(
                sa.text("INSERT INTO studies (study_instance_uid, last_received_at) VALUES (:uid, :at)"), row
            )
        for revision, label in ((1, "not assessed"), (2, "fake")):
            connection.execute(_OLD_VERDICT, _old_verdict("study", STUDY, revision, label, 0.9))
        connection.execute(_OLD_VERDICT, _old_verdict("series", "1.1", 2, "not assessed", None) | {"model": ""})
        connection.execute(_OLD_VERDICT, _old_verdict("series", "1.2", 2, "fake", 0.9))
    upgrade(engine)
    with reading(engine) as connection:
        rows = {row["study_instance_uid"]: row for row in connection.execute(sa.select(studies)).mappings()}
    expected = FROM_FIRST_IMAGE | {
        "verdict": "fake",
        "probability": 0.9,
        "verdict_revision": 2,
        "verdict_at": 22.0,
        "model_name": "lung-ct",
        "model_sha256": "m",
        "modality": "CT",
        "images_total": 2,
        "images_scored": 1,
    }
    assert dict(rows[STUDY]).items() >= expected.items()
    assert (rows["1.2.4"]["verdict"], rows["1.2.4"]["first_received_at"]) == ("", 0.0)


_OLD_VERDICT = sa.text(
    "INSERT INTO verdicts (study_instance_uid, revision, scope, scope_uid, verdict, probability, model_name, "
    "model_sha256, images_total, images_scored, created_at) "
    "VALUES (:study, :revision, :scope, :uid, :verdict, :probability, :name, :model, 2, 1, :at)"
)


def _old_verdict(scope: str, uid: str, revision: int, label: str, probability: float | None) -> dict[str, object]:
    return {
        "study": STUDY,
        "revision": revision,
        "scope": scope,
        "uid": uid,
        "verdict": label,
        "probability": probability,
        "name": "lung-ct" if scope == "series" and probability else "",
        "model": "m",
        "at": 20.0 + revision,
    }


def _old_columns(item: SpooledInstance) -> dict[str, object]:
    attributes = item.attributes
    return {
        "sop_instance_uid": attributes.sop_instance_uid,
        "sop_class_uid": attributes.sop_class_uid,
        "study_instance_uid": attributes.study_instance_uid,
        "series_instance_uid": attributes.series_instance_uid,
        "transfer_syntax_uid": item.transfer_syntax_uid,
        "content_sha256": item.content_sha256,
        "size_bytes": 1,
        "path": "x",
        "calling_ae_title": item.peer.calling_ae_title,
        "called_ae_title": "B",
        "host": "127.0.0.1",
        "received_at": item.received_at,
        "modality": attributes.modality,
        "study_description": attributes.study_description,
        "patient_id": attributes.patient_id,
        "accession_number": attributes.accession_number,
    }
