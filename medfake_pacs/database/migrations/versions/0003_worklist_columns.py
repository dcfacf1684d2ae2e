"""Keep on each study what the worklist shows and filters by.

Revision: 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
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
