"""The console's tables: accounts, sessions, tokens, checks of uploaded images, reviews, notifications.

Secrets are never kept, only their SHA-256 (passwords: argon2id). Times are seconds since the epoch, UTC.
"""

import sqlalchemy as sa

from medfake_pacs.database.tables import metadata

_UID = sa.String(64)
_SHA256 = sa.String(64)
_TIME = sa.Float
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


users = sa.Table(
    "users",
    metadata,
    sa.Column("user_id", _ID, primary_key=True, autoincrement=True),
    # In lower case: two names that differ in case only would be one person's trap for another.
    sa.Column("user_name", sa.String(64), nullable=False, unique=True),
    _text("display_name"),
    _text("email"),
    # argon2id in PHC form; NULL for an account that signs in by OpenID Connect only.
    sa.Column("password_hash", sa.Text),
    sa.Column("password_changed_at", _TIME),
    sa.Column("must_change_password", sa.Boolean, nullable=False, server_default=sa.false()),
    # Roles in alphabetic order, separated by commas.
    _text("roles"),
    # pending -> active <-> disabled
    sa.Column("state", sa.String(16), nullable=False, server_default="pending"),
    sa.Column("created_at", _TIME, nullable=False),
    _text("approved_by"),
    sa.Column("approved_at", _TIME),
    sa.Column("last_sign_in_at", _TIME),
    _text("last_sign_in_host"),
    # Issuer, a line feed, subject; NULL for an account without OpenID Connect.
    sa.Column("oidc_subject", sa.Text, unique=True),
)

console_sessions = sa.Table(
    "console_sessions",
    metadata,
    sa.Column("session_sha256", _SHA256, primary_key=True),
    sa.Column("user_id", _ID, sa.ForeignKey("users.user_id"), nullable=False, index=True),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("last_seen_at", _TIME, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
    sa.Column("revoked_at", _TIME),
    # When this person signed in the time before; shown to them.
    sa.Column("previous_sign_in_at", _TIME),
    _text("previous_sign_in_host"),
    sa.Column("host", sa.Text, nullable=False),
    _text("user_agent"),
)

sign_in_failures = sa.Table(
    "sign_in_failures",
    metadata,
    sa.Column("failure_id", _ID, primary_key=True, autoincrement=True),
    # "sign-in" or "registration"
    sa.Column("action", sa.String(16), nullable=False),
    # Of the name that was tried: people type passwords into the wrong field.
    sa.Column("name_sha256", _SHA256, nullable=False),
    # An IPv4 address or an IPv6 network of 64 bits.
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("failed_at", _TIME, nullable=False, index=True),
    sa.Index("ix_sign_in_failures_name_sha256_failed_at", "name_sha256", "failed_at"),
    sa.Index("ix_sign_in_failures_host_failed_at", "host", "failed_at"),
)

oidc_flows = sa.Table(
    "oidc_flows",
    metadata,
    # Of the cookie that ties the answer to the browser that asked.
    sa.Column("flow_sha256", _SHA256, primary_key=True),
    sa.Column("state", sa.String(64), nullable=False),
    sa.Column("nonce", sa.String(64), nullable=False),
    sa.Column("code_verifier", sa.String(128), nullable=False),
    _text("next"),
    sa.Column("host", sa.Text, nullable=False, index=True),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
)

invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("invitation_sha256", _SHA256, primary_key=True),
    _text("roles"),
    _text("note"),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False),
    sa.Column("used_at", _TIME),
    _text("used_by"),
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("token_id", _ID, primary_key=True, autoincrement=True),
    sa.Column("token_sha256", _SHA256, nullable=False, unique=True),
    sa.Column("user_id", _ID, sa.ForeignKey("users.user_id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    # Permissions in alphabetic order, separated by commas: what it may do, as far as its owner may.
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False),
    sa.Column("last_used_at", _TIME),
    sa.Column("revoked_at", _TIME),
)

saved_searches = sa.Table(
    "saved_searches",
    metadata,
    sa.Column("search_id", _ID, primary_key=True, autoincrement=True),
    sa.Column("user_id", _ID, sa.ForeignKey("users.user_id"), nullable=False),
    # "log" or "worklist"
    sa.Column("page", sa.String(16), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("conditions", sa.JSON, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.UniqueConstraint("user_id", "page", "name"),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("review_id", _ID, primary_key=True, autoincrement=True),
    sa.Column("study_instance_uid", _UID, nullable=False, index=True),
    # The revision whose verdict it is about.
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("user_id", _ID, sa.ForeignKey("users.user_id"), nullable=False),
    # Who it was, as the report names them: accounts may be renamed.
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    # agree, disagree or comment
    sa.Column("opinion", sa.String(16), nullable=False),
    _text("comment"),
    sa.Column("created_at", _TIME, nullable=False),
    # recorded -> reported (its report is written and its deliveries are queued)
    sa.Column("state", sa.String(16), nullable=False, server_default="recorded"),
    sa.Column("report_uid", sa.String(64)),
    # While its report can't be written: how often that was tried, when it is tried again, and why it can't be.
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", _TIME, nullable=False, server_default="0"),
    _text("problem"),
    sa.Index("ix_reviews_state", "state", "next_attempt_at"),
)

checks = sa.Table(
    "checks",
    metadata,
    # Random, so that nobody guesses another's.
    sa.Column("check_id", sa.String(32), primary_key=True),
    sa.Column("user_id", _ID, sa.ForeignKey("users.user_id"), nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    # The bundle to use; empty: detect from the file.
    _text("model"),
    # uploading -> waiting -> running -> done | failed; a done one is expired when its files are deleted.
    sa.Column("state", sa.String(16), nullable=False, server_default="uploading"),
    # The process that has it in hand, and how many processes died or broke off with it in hand.
    _text("process_id"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("images_total", sa.Integer, nullable=False, server_default="0"),
    sa.Column("images_done", sa.Integer, nullable=False, server_default="0"),
    sa.Column("started_at", _TIME),
    sa.Column("finished_at", _TIME),
    sa.Column("expired_at", _TIME),
    # Empty until it is done.
    _text("verdict"),
    sa.Column("probability", sa.Float),
    _text("reason"),
    # A whole Verdict for each study that was in it, from which pages and reports are made, and those reports.
    sa.Column("detail", sa.JSON),
    # Name and reason of each file of an archive that isn't an image.
    sa.Column("left_out", sa.JSON),
    # The folder with its reports, from the spool's folder on; empty where there is none.
    _text("report_path"),
    sa.Index("ix_checks_state", "state", "created_at"),
    sa.Index("ix_checks_user", "user_id", "created_at"),
)

check_files = sa.Table(
    "check_files",
    metadata,
    sa.Column("file_id", _ID, primary_key=True, autoincrement=True),
    sa.Column("check_id", sa.String(32), sa.ForeignKey("checks.check_id"), nullable=False, index=True),
    # What the browser called it; shown, never used as a path.
    _text("name"),
    # dicom, png or jpeg
    sa.Column("kind", sa.String(8), nullable=False),
    # From the spool's folder on.
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", _SHA256, nullable=False),
    _text("sop_instance_uid"),
    _text("series_instance_uid"),
    _text("study_instance_uid"),
    sa.Column("pixel_sha256", sa.String(64)),
    sa.Column("model_sha256", sa.String(64)),
)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("notification_id", _ID, primary_key=True, autoincrement=True),
    # The name of the [[notifications]] entry.
    sa.Column("target", sa.String(64), nullable=False),
    sa.Column("study_instance_uid", _UID, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    # waiting -> sent | dead; a dead one goes back to waiting when an administrator retries it.
    sa.Column("state", sa.String(16), nullable=False, server_default="waiting"),
    # Attempts begun, and how many of them were before it was last queued anew, at queued_at.
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempts_before", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("queued_at", _TIME, nullable=False),
    sa.Column("next_attempt_at", _TIME, nullable=False),
    sa.Column("finished_at", _TIME),
    # The HTTP or SMTP status of the last attempt; NULL where no answer came.
    sa.Column("last_status", sa.Integer),
    _text("last_comment"),
    sa.UniqueConstraint("study_instance_uid", "revision", "target"),
    sa.Index("ix_notifications_due", "state", "next_attempt_at"),
)
