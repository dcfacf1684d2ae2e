"""Recording: one transaction for what comes together, and nobody's mistake spoils another's row."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs import audit
from medfake_pacs.association import register
from medfake_pacs.association.register import Register
from medfake_pacs.database import open_engine, upgrade
from medfake_pacs.database.tables import instances
from medfake_pacs.entities import ImageAttributes, Peer, SpooledInstance
from medfake_pacs.errors import OutOfResourcesError

PEER = Peer(association_id="a", calling_ae_title="CT1", called_ae_title="NODE", host="10.0.0.5")


def _spooled(number: int, **change: object) -> SpooledInstance:
    attributes = ImageAttributes(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid=f"1.2.{number}", study_instance_uid="1.2",
        series_instance_uid="1.2.3",
    )  # fmt: skip
    spooled = SpooledInstance(
        attributes=attributes, transfer_syntax_uid="1.2.840.10008.1.2", content_sha256=f"{number:064}", size_bytes=1,
        path=Path("object"), peer=PEER, received_at=1.0,
    )  # fmt: skip
    return dataclasses.replace(spooled, **change)


@pytest.fixture
def engine(tmp_path: Path, database_url: str):
    opened = open_engine(database_url or f"sqlite:///{tmp_path / 'node.db'}")
    upgrade(opened)
    yield opened
    opened.dispose()


def _recorded(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        assert audit.verify(connection, None).ok
        return sorted(connection.scalars(sa.select(instances.c.sop_instance_uid)))


def test_what_comes_together_is_recorded_together(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, gate = [], threading.Event()
    original = register.record

    def slow(*arguments: object) -> object:
        batches.append(len(arguments[1]))
        gate.wait(10)
        return original(*arguments)

    monkeypatch.setattr(register, "record", slow)
    shared = Register(engine, "node")
    with ThreadPoolExecutor(6) as senders:
        results = [senders.submit(shared.record, _spooled(number)) for number in range(6)]
        while sum(batches) + len(shared._group._waiting) < 6:
            gate.wait(0.01)
        gate.set()
        assert len({result.result().instance_id for result in results}) == 6
    assert sum(batches) == 6
    assert len(batches) <= 3
    assert len(_recorded(engine)) == 6


def test_one_that_can_not_be_recorded_spoils_no_other(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Register(engine, "node")
    bad = _spooled(99, size_bytes=2**70)
    group = shared._group
    entries = [register._Entry(item) for item in (_spooled(1), bad, _spooled(2))]
    group._write(entries)
    outcomes = {entry.spooled.attributes.sop_instance_uid: entry.outcome for entry in entries}
    assert isinstance(outcomes["1.2.99"], Exception)
    assert not isinstance(outcomes["1.2.1"], Exception)
    assert not isinstance(outcomes["1.2.2"], Exception)
    assert _recorded(engine) == ["1.2.1", "1.2.2"]


def test_the_same_instance_twice_in_one_batch_is_one_row(engine: sa.Engine) -> None:
    first, second = register.record(engine, [_spooled(1), _spooled(1)])
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.instance_id == second.instance_id


def test_a_database_that_is_away_is_out_of_resources(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'node.db'}")
    with pytest.raises(OutOfResourcesError):
        Register(engine, "node").record(_spooled(1))
    engine.dispose()
