"""The tables. Times are seconds since the epoch, UTC, except in the log, which has RFC 3339 text.

``instances`` to ``delivery_attempts`` are working state; what an auditor may rely on is ``audit_events``.
"""

from collections.abc import Iterator

import sqlalchemy as sa

_UID = sa.String(64)
_AE = sa.String(16)
_SHA256 = sa.String(64)
_TIME = sa.Float
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


# One row, made with the tables: tells this database from any other that the workflows may have known.
identity = sa.Table("identity", metadata, sa.Column("database_id", sa.String(36), primary_key=True))

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("node_id", sa.String(128), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("process_id", sa.Integer, nullable=False),
    sa.Column("started_at", _TIME, nullable=False),
    sa.Column("heartbeat_at", _TIME, nullable=False, index=True),
)

associations = sa.Table(
    "associations",
    metadata,
    sa.Column("association_id", sa.String(36), primary_key=True),
    sa.Column("node_id", sa.String(128), nullable=False, index=True),
    sa.Column("calling_ae_title", _AE, nullable=False),
    sa.Column("called_ae_title", _AE, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("opened_at", _TIME, nullable=False),
    sa.Column("closed_at", _TIME, index=True),
    sa.Column("ending", sa.String(16), nullable=False, server_default=""),
    sa.Column("objects_kept", sa.Integer, nullable=False, server_default="0"),
    sa.Column("objects_not_kept", sa.Integer, nullable=False, server_default="0"),
    sa.Index("ix_associations_peer", "calling_ae_title", "opened_at"),
)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("instance_id", _ID, primary_key=True, autoincrement=True),
    sa.Column("sop_instance_uid", _UID, nullable=False),
    sa.Column("sop_class_uid", _UID, nullable=False),
    sa.Column("study_instance_uid", _UID, nullable=False),
    sa.Column("series_instance_uid", _UID, nullable=False),
    sa.Column("transfer_syntax_uid", _UID, nullable=False),
    sa.Column("content_sha256", _SHA256, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("association_id", sa.String(36), nullable=False, server_default=""),
    sa.Column("calling_ae_title", _AE, nullable=False),
    sa.Column("called_ae_title", _AE, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("received_at", _TIME, nullable=False),
    _text("modality"),
    _text("body_part"),
    _text("study_description"),
    _text("series_description"),
    _text("patient_id"),
    _text("accession_number"),
    _text("image_type"),
    _text("synthetic_data"),
    sa.Column("instance_number", sa.BigInteger),
    sa.Column("slice_position_mm", sa.Float),
    sa.Column("number_of_frames", sa.Integer, nullable=False, server_default="1"),
    sa.Column("lossy", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("conflict_of", _ID),
    # The revision of the study that took it in; NULL while the study is still arriving.
    sa.Column("revision", sa.Integer),
    # received -> queued -> done; what became of it is in the columns below.
    sa.Column("state", sa.String(16), nullable=False, server_default="received"),
    # The workflow that scores it, and how many of those broke off.
    sa.Column("chunk_id", sa.String(128)),
    sa.Column("broken_attempts", sa.Integer, nullable=False, server_default="0"),
    # The process that has it in hand, and how many processes died with it in hand.
    sa.Column("scoring_process", sa.Text),
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("pixel_sha256", sa.String(64)),
    sa.Column("route", sa.Text),
    sa.Column("model_sha256", sa.String(64)),
    sa.Column("decoder", sa.Text),
    sa.Column("not_assessed_reason", sa.Text),
    sa.UniqueConstraint("sop_instance_uid", "content_sha256"),
    sa.Index("ix_instances_study_revision", "study_instance_uid", "revision"),
    sa.Index("ix_instances_state", "state", "instance_id"),
    sa.Index("ix_instances_content_sha256", "content_sha256"),
)


# A study with a verdict whose newer one is still to come: its images are arriving, or its revision isn't assessed.
# As text: a query takes the index of these studies only where it says the same, without parameters.
STUDY_REOPENED = "verdict <> '' AND (opened_at IS NOT NULL OR revision > verdict_revision)"


def _worklist_indexes() -> Iterator[sa.Index]:
    """One for each order and each column that may be filtered by; the others follow, to be tested in the index."""
    filtered = ("verdict", "modality", "calling_ae_title")
    for order in ("first_received_at", "probability", "verdict_at"):
        time = () if order == "first_received_at" else ("first_received_at",)
        counted = ("model_name",) if order == "first_received_at" else ()
        yield sa.Index(f"ix_studies_{order}", order, *time, *filtered, *counted)
        for column in filtered:
            others = (each for each in filtered if each != column)
            yield sa.Index(f"ix_studies_{column}_{order}", column, order, *time, *others)


studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study_instance_uid", _UID, primary_key=True),
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
    # While images of the next revision arrive: when the first and the last of them came.
    sa.Column("opened_at", _TIME, index=True),
    sa.Column("last_received_at", _TIME),
    # When its spooled files were deleted; NULL while they are there.
    sa.Column("expired_at", _TIME),
    # What the worklist shows and filters by, so that it needs no other table: of the first image ...
    sa.Column("first_received_at", _TIME, nullable=False, server_default="0"),
    _text("patient_id"),
    _text("accession_number"),
    _text("modality"),
    _text("study_description"),
    sa.Column("calling_ae_title", _AE, nullable=False, server_default=""),
    # ... and of the newest verdict; empty while there is none.
    sa.Column("verdict", sa.String(16), nullable=False, server_default=""),
    sa.Column("probability", sa.Float),
    sa.Column("verdict_revision", sa.Integer),
    sa.Column("verdict_at", _TIME),
    _text("model_name"),
    sa.Column("model_sha256", sa.String(64), nullable=False, server_default=""),
    sa.Column("images_total", sa.Integer, nullable=False, server_default="0"),
    sa.Column("images_scored", sa.Integer, nullable=False, server_default="0"),
    # Nothing here may hold a column that each image changes, such as last_received_at: PostgreSQL would then write
    # every index anew for each image. Which index serves which page: deploy/docs/decisions/0008.
    sa.Index("ix_studies_retention", "expired_at", "study_instance_uid"),
    sa.Index("ix_studies_patient_id", "patient_id", "first_received_at"),
    sa.Index("ix_studies_accession_number", "accession_number", "first_received_at"),
    *_worklist_indexes(),
    sa.Index(
        "ix_studies_reopened",
        "first_received_at",
        sqlite_where=sa.text(STUDY_REOPENED),
        postgresql_where=sa.text(STUDY_REOPENED),
    ),
)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("study_instance_uid", _UID, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("completed_at", _TIME, nullable=False),
    sa.Column("trigger", sa.String(32), nullable=False),
    sa.Column("last_received_at", _TIME, nullable=False),
    # completed -> assessed (verdict, report and deliveries are recorded)
    sa.Column("state", sa.String(16), nullable=False, server_default="completed"),
    # How often assessing it broke off or began anew, and when it is due again.
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", _TIME, nullable=False, server_default="0"),
    sa.Index("ix_revisions_state", "state"),
)

scores = sa.Table(
    "scores",
    metadata,
    sa.Column("pixel_sha256", _SHA256, primary_key=True),
    sa.Column("model_sha256", _SHA256, primary_key=True),
    sa.Column("frames", sa.JSON, nullable=False),
    sa.Column("engine", sa.String(32), nullable=False),
    sa.Column("scored_at", _TIME, nullable=False),
    sa.Index("ix_scores_model_sha256_scored_at", "model_sha256", "scored_at"),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("study_instance_uid", _UID, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("scope", sa.String(8), primary_key=True),
    sa.Column("scope_uid", _UID, primary_key=True),
    sa.Column("verdict", sa.String(16), nullable=False, index=True),
    sa.Column("probability", sa.Float),
    sa.Column("model_name", sa.Text, nullable=False, server_default=""),
    sa.Column("model_sha256", sa.String(64), nullable=False, server_default=""),
    sa.Column("route", sa.Text, nullable=False, server_default=""),
    sa.Column("images_total", sa.Integer, nullable=False),
    sa.Column("images_scored", sa.Integer, nullable=False),
    _text("reason"),
    sa.Column("created_at", _TIME, nullable=False),
    # Scope "study" only: the whole verdict, from which the report is made.
    sa.Column("detail", sa.JSON),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("sop_instance_uid", _UID, primary_key=True),
    sa.Column("sop_class_uid", _UID, nullable=False),
    sa.Column("study_instance_uid", _UID, nullable=False),
    # "verdict": the node's own on a revision; "review": a radiologist's on that, numbered within the study;
    # "check": on uploaded images, numbered likewise.
    sa.Column("kind", sa.String(16), nullable=False, server_default="verdict"),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", _SHA256, nullable=False),
    _text("predecessor_uid"),
    sa.Column("created_at", _TIME, nullable=False),
    sa.UniqueConstraint("study_instance_uid", "kind", "revision"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("delivery_id", _ID, primary_key=True, autoincrement=True),
    sa.Column("report_uid", _UID, nullable=False),
    sa.Column("study_instance_uid", _UID, nullable=False),
    sa.Column("destination", sa.String(64), nullable=False),
    # waiting -> sent | dead; an administrator has a dead one sent again (waiting), or makes it dismissed.
    sa.Column("state", sa.String(16), nullable=False, server_default="waiting"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("next_attempt_at", _TIME, nullable=False),
    sa.Column("finished_at", _TIME),
    sa.Column("last_status", sa.Integer),
    _text("last_comment"),
    sa.UniqueConstraint("report_uid", "destination"),
    sa.Index("ix_deliveries_due", "state", "destination", "next_attempt_at"),
    sa.Index("ix_deliveries_study", "study_instance_uid", "state"),
    # For the lists that people page through, newest first.
    sa.Index("ix_deliveries_state", "state", "delivery_id"),
    sa.Index("ix_deliveries_destination", "destination", "state", "delivery_id"),
)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("attempt_id", _ID, primary_key=True, autoincrement=True),
    sa.Column("delivery_id", _ID, sa.ForeignKey("deliveries.delivery_id"), nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("attempted_at", _TIME, nullable=False),
    sa.Column("sop_class_uid", _UID, nullable=False, server_default=""),
    sa.Column("status", sa.Integer),
    sa.Column("succeeded", sa.Boolean, nullable=False),
    _text("comment"),
)


def _log_indexes() -> Iterator[sa.Index]:
    """For what many rows don't have: those aren't in the index, and a query must say that it doesn't want them."""
    for column in ("series_instance_uid", "ae_title", "verdict", "model_sha256"):
        filled = sa.text(f"{column} <> ''")
        name = f"ix_audit_events_{column}_seq"
        yield sa.Index(name, column, "seq", sqlite_where=filled, postgresql_where=filled)


audit_events = sa.Table(
    "audit_events",
    metadata,
    sa.Column("seq", _ID, primary_key=True, autoincrement=False),
    sa.Column("occurred_at", sa.String(32), nullable=False, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("study_instance_uid", sa.Text, nullable=False, server_default="", index=True),
    sa.Column("series_instance_uid", sa.Text, nullable=False, server_default=""),
    sa.Column("sop_instance_uid", sa.Text, nullable=False, server_default="", index=True),
    sa.Column("patient_id", sa.Text, nullable=False, server_default="", index=True),
    sa.Column("accession_number", sa.Text, nullable=False, server_default="", index=True),
    sa.Column("ae_title", sa.Text, nullable=False, server_default=""),
    sa.Column("verdict", sa.Text, nullable=False, server_default=""),
    sa.Column("model_sha256", sa.Text, nullable=False, server_default=""),
    # Canonical JSON of the whole event, columns above included: what the hash covers.
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("previous_hash", _SHA256, nullable=False),
    sa.Column("hash", _SHA256, nullable=False, unique=True),
    sa.Index("ix_audit_events_kind_seq", "kind", "seq"),
    *_log_indexes(),
)
