"""Create the tables, and the triggers that keep the log append-only.

Revision: 0001.
"""

import uuid

import sqlalchemy as sa
from alembic import op

from medfake_pacs.database import log_triggers

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table, index and trigger."""
    op.create_table(
        "associations",
        sa.Column("association_id", sa.String(length=36), nullable=False),
        sa.Column("node_id", sa.String(length=128), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae_title", sa.String(length=16), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.Column("ending", sa.String(length=16), server_default="", nullable=False),
        sa.Column("objects_kept", sa.Integer(), server_default="0", nullable=False),
        sa.Column("objects_not_kept", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("association_id", name=op.f("pk_associations")),
    )
    with op.batch_alter_table("associations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_associations_closed_at"), ["closed_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_associations_node_id"), ["node_id"], unique=False)

    op.create_table(
        "audit_events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("occurred_at", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("series_instance_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("patient_id", sa.Text(), server_default="", nullable=False),
        sa.Column("accession_number", sa.Text(), server_default="", nullable=False),
        sa.Column("ae_title", sa.Text(), server_default="", nullable=False),
        sa.Column("verdict", sa.Text(), server_default="", nullable=False),
        sa.Column("model_sha256", sa.Text(), server_default="", nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_events")),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_events_hash")),
    )
    with op.batch_alter_table("audit_events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_events_accession_number"), ["accession_number"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_events_kind"), ["kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_events_occurred_at"), ["occurred_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_events_patient_id"), ["patient_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_events_sop_instance_uid"), ["sop_instance_uid"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_events_study_instance_uid"), ["study_instance_uid"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_events_verdict"), ["verdict"], unique=False)

    op.create_table(
        "deliveries",
        sa.Column(
            "delivery_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("report_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("next_attempt_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_comment", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("report_uid", "destination", name=op.f("uq_deliveries_report_uid_destination")),
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index("ix_deliveries_due", ["state", "destination", "next_attempt_at"], unique=False)
        batch_op.create_index("ix_deliveries_study", ["study_instance_uid", "state"], unique=False)

    op.create_table(
        "identity",
        sa.Column("database_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("database_id", name=op.f("pk_identity")),
    )
    op.create_table(
        "instances",
        sa.Column(
            "instance_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("association_id", sa.String(length=36), server_default="", nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("called_ae_title", sa.String(length=16), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("modality", sa.Text(), server_default="", nullable=False),
        sa.Column("body_part", sa.Text(), server_default="", nullable=False),
        sa.Column("study_description", sa.Text(), server_default="", nullable=False),
        sa.Column("series_description", sa.Text(), server_default="", nullable=False),
        sa.Column("patient_id", sa.Text(), server_default="", nullable=False),
        sa.Column("accession_number", sa.Text(), server_default="", nullable=False),
        sa.Column("image_type", sa.Text(), server_default="", nullable=False),
        sa.Column("synthetic_data", sa.Text(), server_default="", nullable=False),
        sa.Column("instance_number", sa.BigInteger(), nullable=True),
        sa.Column("slice_position_mm", sa.Float(), nullable=True),
        sa.Column("number_of_frames", sa.Integer(), server_default="1", nullable=False),
        sa.Column("lossy", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("conflict_of", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), server_default="received", nullable=False),
        sa.Column("chunk_id", sa.String(length=128), nullable=True),
        sa.Column("broken_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("scoring_process", sa.Text(), nullable=True),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pixel_sha256", sa.String(length=64), nullable=True),
        sa.Column("route", sa.Text(), nullable=True),
        sa.Column("model_sha256", sa.String(length=64), nullable=True),
        sa.Column("decoder", sa.Text(), nullable=True),
        sa.Column("not_assessed_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_instances")),
        sa.UniqueConstraint(
            "sop_instance_uid", "content_sha256", name=op.f("uq_instances_sop_instance_uid_content_sha256")
        ),
    )
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.create_index("ix_instances_content_sha256", ["content_sha256"], unique=False)
        batch_op.create_index("ix_instances_state", ["state", "instance_id"], unique=False)
        batch_op.create_index("ix_instances_study_revision", ["study_instance_uid", "revision"], unique=False)

    op.create_table(
        "nodes",
        sa.Column("node_id", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("heartbeat_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_nodes")),
    )
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_nodes_heartbeat_at"), ["heartbeat_at"], unique=False)

    op.create_table(
        "reports",
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("predecessor_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("sop_instance_uid", name=op.f("pk_reports")),
        sa.UniqueConstraint("study_instance_uid", "revision", name=op.f("uq_reports_study_instance_uid_revision")),
    )
    op.create_table(
        "revisions",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("completed_at", sa.Float(), nullable=False),
        sa.Column("trigger", sa.String(length=32), nullable=False),
        sa.Column("last_received_at", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="completed", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.Float(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", "revision", name=op.f("pk_revisions")),
    )
    with op.batch_alter_table("revisions", schema=None) as batch_op:
        batch_op.create_index("ix_revisions_state", ["state"], unique=False)

    op.create_table(
        "scores",
        sa.Column("pixel_sha256", sa.String(length=64), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("frames", sa.JSON(), nullable=False),
        sa.Column("engine", sa.String(length=32), nullable=False),
        sa.Column("scored_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("pixel_sha256", "model_sha256", name=op.f("pk_scores")),
    )
    op.create_table(
        "studies",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=True),
        sa.Column("last_received_at", sa.Float(), nullable=True),
        sa.Column("expired_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("study_instance_uid", name=op.f("pk_studies")),
    )
    with op.batch_alter_table("studies", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_studies_opened_at"), ["opened_at"], unique=False)
        batch_op.create_index("ix_studies_retention", ["expired_at", "last_received_at"], unique=False)

    op.create_table(
        "verdicts",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("scope_uid", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("probability", sa.Float(), nullable=True),
        sa.Column("model_name", sa.Text(), server_default="", nullable=False),
        sa.Column("model_sha256", sa.String(length=64), server_default="", nullable=False),
        sa.Column("route", sa.Text(), server_default="", nullable=False),
        sa.Column("images_total", sa.Integer(), nullable=False),
        sa.Column("images_scored", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("study_instance_uid", "revision", "scope", "scope_uid", name=op.f("pk_verdicts")),
    )
    with op.batch_alter_table("verdicts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_verdicts_verdict"), ["verdict"], unique=False)

    op.create_table(
        "delivery_attempts",
        sa.Column(
            "attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("delivery_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempted_at", sa.Float(), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), server_default="", nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.delivery_id"], name=op.f("fk_delivery_attempts_delivery_id_deliveries")
        ),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_delivery_attempts")),
    )
    with op.batch_alter_table("delivery_attempts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_delivery_attempts_delivery_id"), ["delivery_id"], unique=False)
    op.execute(sa.text("INSERT INTO identity (database_id) VALUES (:id)").bindparams(id=str(uuid.uuid4())))
    for statement in log_triggers.statements(op.get_bind().dialect.name):
        op.execute(statement)


def downgrade() -> None:
    """Refuse: the log is append-only, and going back would drop it."""
    raise NotImplementedError("the log can't be dropped by a migration; restore a backup instead")
