"""The spool of a node whose tables are in PostgreSQL."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.config import load_settings
from medfake_pacs.database import open_engine
from tests.spool_content import Node
from training.datasets import DatasetError, load
from training.datasets.spool import find, read_only


def test_a_node_on_postgresql_is_read_by_its_configuration(tmp_path: Path, postgresql_url: str) -> None:
    node = Node(tmp_path, open_engine(postgresql_url))
    for number, (verdict, opinion) in enumerate([("real", ""), ("fake", "disagree"), ("fake", "agree")]):
        node.judge(node.receive(number + 1), verdict, opinion)
    configuration = tmp_path / "medfake.toml"
    configuration.write_text(f'[node]\nstate_dir = "{tmp_path}"\n[database]\nurl = "{postgresql_url}"\n')
    assert load_settings(configuration).database_url == postgresql_url
    found = find(configuration)
    assert sorted(each.series for each in found.records) == ["1.2.1", "1.2.2"]
    assert load(found.records[0]).image.shape == (64, 64)
    with pytest.raises(DatasetError, match="configuration file"):
        find(tmp_path)
    node.close()


def test_the_reader_could_not_write_if_it_tried(tmp_path: Path, postgresql_url: str) -> None:
    node = Node(tmp_path, open_engine(postgresql_url))
    with read_only(node.engine) as connection, pytest.raises(sa.exc.DBAPIError, match="read-only"):
        connection.execute(sa.text("CREATE TABLE mine (id integer)"))
    node.close()
