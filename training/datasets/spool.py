"""The images that a node received: a site's own, read from its spool and database, neither of which is changed.

``root`` is the node's ``state_dir`` or its configuration file; the file is needed where the tables are in PostgreSQL.
Uploaded images and reports aren't among what was received. Everything counts as real but what declares itself
synthetic and what a person found to be fake: of such a study nobody said which images are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.config import load_settings
from medfake_pacs.database import tables
from medfake_pacs.database.console_tables import reviews
from medfake_pacs.database.engine import open_engine, reading
from training.datasets.files import outline
from training.datasets.folder import pseudonym
from training.datasets.record import DatasetError, Found, LeftOut, Record

_DATABASE = "medfake.db"
# Objects without an image of their own.
_NO_IMAGE = ("AU", "DOC", "ECG", "KO", "PLAN", "PR", "REG", "RTPLAN", "RTSTRUCT", "RTRECORD", "RTDOSE", "SEG", "SR")


def find(root: Path) -> Found:
    """The frames of every image in the spool of a node.

    Raises: DatasetError where there is no node's database, FileNotFoundError where ``root`` is absent.
    """
    engine, spool_dir = _place(root)
    try:
        with read_only(engine) as connection:
            rows = connection.execute(_IMAGES).all()
            verdicts = {row.study_instance_uid: row for row in connection.execute(_STUDIES)}
            opinions = _opinions(connection)
    except sa.exc.SQLAlchemyError as error:
        raise DatasetError(f"{root}: the node's database can't be read: {type(error).__name__}") from error
    finally:
        engine.dispose()
    records: list[Record] = []
    left_out: list[LeftOut] = []
    unreviewed: set[str] = set()
    for row in rows:
        opinion = opinions.get(row.study_instance_uid, "")
        path = spool_dir / row.path
        if reason := _reason(row, opinion, path, expired=verdicts[row.study_instance_uid].expired_at is not None):
            left_out.append(LeftOut(path=path, reason=reason))
            continue
        if verdicts[row.study_instance_uid].verdict == "fake" and not opinion:
            unreviewed.add(row.study_instance_uid)
        records += _frames(row, path)
    if not records:
        raise DatasetError(f"{root}: the node keeps no image; {left_out[0] if left_out else 'it received none'}")
    notes = [f"{len(unreviewed)} studies that the node calls fake and nobody reviewed count as real"] * bool(unreviewed)
    return Found(records=tuple(records), left_out=tuple(left_out), notes=tuple(notes))


def spool_folder(configuration: Path) -> Path:
    """The folder of the spool of the node with this configuration file."""
    return load_settings(configuration).spool_dir


_IMAGES = sa.select(tables.instances).order_by(tables.instances.c.instance_id)
_STUDIES = sa.select(tables.studies.c.study_instance_uid, tables.studies.c.verdict, tables.studies.c.expired_at)


def _place(root: Path) -> tuple[sa.Engine, Path]:
    if root.is_file():
        settings = load_settings(root)
        if not sa.make_url(settings.database_url).drivername.startswith("sqlite"):
            return open_engine(settings.database_url), settings.spool_dir
        database, spool_dir = Path(sa.make_url(settings.database_url).database or ""), settings.spool_dir
    elif root.is_dir():
        database, spool_dir = root / _DATABASE, root / "spool"
    else:
        raise FileNotFoundError(f"no folder {root}")
    if not database.is_file():
        found = f"; found {outline(root)}" if root.is_dir() else ""
        raise DatasetError(
            f"{root}: no {database.name}{found}. Name the node's state_dir, or its configuration file where the tables "
            "are in PostgreSQL"
        )
    query = {"mode": "ro", "uri": "true"}
    if not os.access(database.parent, os.W_OK) and not database.with_name(f"{database.name}-wal").exists():
        # Nothing writes to it, and SQLite could not put its index of the log beside it.
        query["immutable"] = "1"
    url = sa.URL.create("sqlite", database=f"file:{database.resolve()}", query=query)
    return sa.create_engine(url, hide_parameters=True), spool_dir


@contextmanager
def read_only(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that can't write: SQLite opened read-only, PostgreSQL in a read-only transaction."""
    with reading(engine.execution_options(postgresql_readonly=True)) as connection:
        yield connection


def _opinions(connection: sa.Connection) -> dict[str, str]:
    """What people found the studies to be, "real" or "fake": the newest review that agrees or disagrees."""
    verdicts = tables.verdicts
    query = (
        sa.select(reviews.c.study_instance_uid, reviews.c.opinion, verdicts.c.verdict)
        .join(
            verdicts,
            (verdicts.c.study_instance_uid == reviews.c.study_instance_uid)
            & (verdicts.c.revision == reviews.c.revision)
            & (verdicts.c.scope == "study"),
        )
        .where(reviews.c.opinion.in_(("agree", "disagree")), verdicts.c.verdict.in_(("real", "fake")))
        .order_by(reviews.c.review_id)
    )
    other = {"real": "fake", "fake": "real"}
    return {
        row.study_instance_uid: row.verdict if row.opinion == "agree" else other[row.verdict]
        for row in connection.execute(query)
    }


def _reason(row: sa.Row, opinion: str, path: Path, *, expired: bool) -> str:
    """Why an object isn't used, or nothing."""
    if row.modality in _NO_IMAGE:
        return "not an image"
    if str(row.synthetic_data).upper() == "YES":
        return "declares itself synthetic (Synthetic Data, 0008,001C)"
    if opinion == "fake":
        return "in a study that a person found to be fake, and nobody said which of its images are"
    if not path.is_file():
        return "deleted after its time in the spool" if expired else "recorded by the node but not in its spool"
    return ""


def _frames(row: sa.Row, path: Path) -> Iterator[Record]:
    frames = max(1, row.number_of_frames or 1)
    for frame in range(1, frames + 1):
        place = row.slice_position_mm if row.slice_position_mm is not None else float(row.instance_number or frame)
        yield Record(
            reader="spool",
            path=path,
            frame=frame,
            name=f"{row.path}#{frame}" if frames > 1 else row.path,
            source=f"spool-{(row.modality or 'unknown').lower()}",
            patient=pseudonym(row.patient_id or row.study_instance_uid),
            series=row.series_instance_uid,
            position=float(place if frames == 1 else frame),
        )
