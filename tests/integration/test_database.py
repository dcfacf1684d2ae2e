"""The migrations make the tables that the code expects, on both databases, and intake finds duplicates."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.intake import Recorded, record_instance
from medfake_pacs.database.migrate import is_current
from medfake_pacs.database.tables import instances, metadata, studies
from medfake_pacs.entities import ImageAttributes, Peer, SpooledInstance


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> Iterator[sa.Engine]:
    made = open_engine(database_url or f"sqlite:///{tmp_path / 'medfake.db'}")
    upgrade(made)
    yield made
    made.dispose()


def spooled(uid: str = "1.2", content: str = "a", received_at: float = 1.0) -> SpooledInstance:
    return SpooledInstance(
        attributes=ImageAttributes(
            sop_class_uid="1.3", sop_instance_uid=uid, study_instance_uid="1.4", series_instance_uid="1.5"
        ),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        content_sha256=content * 64,
        size_bytes=7,
        path=Path("objects/aa/aa.dcm"),
        peer=Peer(association_id="x", calling_ae_title="A", called_ae_title="B", host="127.0.0.1"),
        received_at=received_at,
    )


def record(engine: sa.Engine, item: SpooledInstance) -> Recorded:
    with transaction(engine) as connection:
        return record_instance(connection, item)


def test_the_migrations_make_the_tables_of_the_code(engine: sa.Engine) -> None:
    assert is_current(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_twice_changes_nothing(engine: sa.Engine) -> None:
    upgrade(engine)
    assert is_current(engine)


def test_same_content_is_a_duplicate_and_other_content_a_conflict(engine: sa.Engine) -> None:
    first = record(engine, spooled())
    again = record(engine, spooled())
    other = record(engine, spooled(content="b"))
    assert (first.duplicate, first.conflict_of) == (False, None)
    assert (again.duplicate, again.instance_id) == (True, first.instance_id)
    assert (other.duplicate, other.conflict_of) == (False, first.instance_id)


def test_an_image_reopens_its_study_and_keeps_the_first_time(engine: sa.Engine) -> None:
    record(engine, spooled(received_at=5.0))
    record(engine, spooled(uid="1.9", received_at=8.0))
    with reading(engine) as connection:
        study = connection.execute(sa.select(studies)).one()
    assert (study.opened_at, study.last_received_at, study.revision) == (5.0, 8.0, 0)


def test_many_receivers_at_once_record_each_object_once(engine: sa.Engine) -> None:
    results: list[Recorded] = []

    def work() -> None:
        results.extend(record(engine, spooled(uid=f"1.{number}")) for number in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sum(not result.duplicate for result in results) == 20
    with reading(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(instances)).scalar_one() == 20
