"""Keep on each study what the worklist shows and filters by, and fill that in for the studies that are there.

Revision: 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# As database.intake does it: of the image that came first.
_FILL_FIRST_IMAGE = """
UPDATE studies SET
    first_received_at = image.received_at,
    patient_id = substr(image.patient_id, 1, 128),
    accession_number = substr(image.accession_number, 1, 128),
    modality = substr(image.modality, 1, 128),
    study_description = substr(image.study_description, 1, 128),
    calling_ae_title = image.calling_ae_title
FROM (
    SELECT study_instance_uid, min(instance_id) AS instance_id FROM instances GROUP BY study_instance_uid
) AS first
JOIN instances AS image ON image.instance_id = first.instance_id
WHERE first.study_instance_uid = studies.study_instance_uid
"""
# As workflows.worklist does it: of the newest revision that has a verdict.
_FILL_VERDICT = """
UPDATE studies SET
    verdict = study.verdict,
    probability = study.probability,
    verdict_revision = study.revision,
    verdict_at = study.created_at,
    model_name = coalesce((
        SELECT CASE WHEN count(DISTINCT series.model_name) = 1 THEN max(series.model_name) ELSE '' END
        FROM verdicts AS series
        WHERE series.study_instance_uid = study.study_instance_uid AND series.revision = study.revision
        AND series.scope = 'series' AND series.model_name <> '' AND study.model_sha256 <> ''), ''),
    model_sha256 = study.model_sha256,
    images_total = study.images_total,
    images_scored = study.images_scored,
    modality = coalesce((
        SELECT nullif(substr(image.modality, 1, 128), '')
        FROM verdicts AS series
        JOIN instances AS image ON image.study_instance_uid = series.study_instance_uid
        AND image.series_instance_uid = series.scope_uid
        WHERE series.study_instance_uid = study.study_instance_uid AND series.revision = study.revision
        AND series.scope = 'series' AND series.verdict = study.verdict
        ORDER BY coalesce(series.probability, -1) DESC, series.scope_uid, image.instance_id LIMIT 1),
        studies.modality)
FROM (
    SELECT study_instance_uid, max(revision) AS revision FROM verdicts WHERE scope = 'study'
    GROUP BY study_instance_uid
) AS newest
JOIN verdicts AS study ON study.study_instance_uid = newest.study_instance_uid
AND study.revision = newest.revision AND study.scope = 'study'
WHERE newest.study_instance_uid = studies.study_instance_uid
"""
_REOPENED = "verdict <> '' AND (opened_at IS NOT NULL OR revision > verdict_revision)"
# Made when the columns are filled.
_STUDY_INDEXES = {
    "ix_studies_retention": ["expired_at", "study_instance_uid"],
    "ix_studies_patient_id": ["patient_id", "first_received_at"],
    "ix_studies_accession_number": ["accession_number", "first_received_at"],
    "ix_studies_first_received_at": ["first_received_at", "verdict", "modality", "calling_ae_title", "model_name"],
    "ix_studies_verdict_first_received_at": ["verdict", "first_received_at", "modality", "calling_ae_title"],
    "ix_studies_modality_first_received_at": ["modality", "first_received_at", "verdict", "calling_ae_title"],
    "ix_studies_calling_ae_title_first_received_at": ["calling_ae_title", "first_received_at", "verdict", "modality"],
    "ix_studies_probability": ["probability", "first_received_at", "verdict", "modality", "calling_ae_title"],
    "ix_studies_verdict_probability": ["verdict", "probability", "first_received_at", "modality", "calling_ae_title"],
    "ix_studies_modality_probability": ["modality", "probability", "first_received_at", "verdict", "calling_ae_title"],
    "ix_studies_calling_ae_title_probability": [
        "calling_ae_title",
        "probability",
        "first_received_at",
        "verdict",
        "modality",
    ],
    "ix_studies_verdict_at": ["verdict_at", "first_received_at", "verdict", "modality", "calling_ae_title"],
    "ix_studies_verdict_verdict_at": ["verdict", "verdict_at", "first_received_at", "modality", "calling_ae_title"],
    "ix_studies_modality_verdict_at": ["modality", "verdict_at", "first_received_at", "verdict", "calling_ae_title"],
    "ix_studies_calling_ae_title_verdict_at": [
        "calling_ae_title",
        "verdict_at",
        "first_received_at",
        "verdict",
        "modality",
    ],
}


def upgrade() -> None:
    """Add the columns and fill them."""
    with op.batch_alter_table("studies", schema=None) as batch_op:
        batch_op.add_column(sa.Column("first_received_at", sa.Float(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("patient_id", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("accession_number", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("modality", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("study_description", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("calling_ae_title", sa.String(length=16), server_default="", nullable=False))
        batch_op.add_column(sa.Column("verdict", sa.String(length=16), server_default="", nullable=False))
        batch_op.add_column(sa.Column("probability", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("verdict_revision", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("verdict_at", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("model_name", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("model_sha256", sa.String(length=64), server_default="", nullable=False))
        batch_op.add_column(sa.Column("images_total", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("images_scored", sa.Integer(), server_default="0", nullable=False))
    op.drop_index("ix_audit_events_kind", "audit_events")
    op.create_index("ix_audit_events_kind_seq", "audit_events", ["kind", "seq"])
    op.drop_index("ix_audit_events_verdict", "audit_events")
    for column in ("series_instance_uid", "ae_title", "verdict", "model_sha256"):
        filled = sa.text(f"{column} <> ''")
        name = f"ix_audit_events_{column}_seq"
        op.create_index(name, "audit_events", [column, "seq"], sqlite_where=filled, postgresql_where=filled)
    op.create_index("ix_scores_model_sha256_scored_at", "scores", ["model_sha256", "scored_at"])
    op.create_index("ix_associations_peer", "associations", ["calling_ae_title", "opened_at"])
    op.create_index("ix_deliveries_state", "deliveries", ["state", "delivery_id"])
    op.create_index("ix_deliveries_destination", "deliveries", ["destination", "state", "delivery_id"])
    op.execute(_FILL_FIRST_IMAGE)
    op.execute(_FILL_VERDICT)
    # Later images of a study change last_received_at only: in no index, PostgreSQL can keep the rest (HOT).
    op.drop_index("ix_studies_retention", "studies")
    for name, columns in _STUDY_INDEXES.items():
        op.create_index(name, "studies", columns)
    reopened = sa.text(_REOPENED)
    op.create_index(
        "ix_studies_reopened", "studies", ["first_received_at"], sqlite_where=reopened, postgresql_where=reopened
    )
