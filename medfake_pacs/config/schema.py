"""What a configuration may say: every section, key, default and bound."""

import socket
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, model_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from medfake_pacs.config.console import ConsoleSettings, NotificationSettings, SmtpSettings
from medfake_pacs.config.retry import RetrySettings
from medfake_pacs.config.types import AeTitle, Host, HostOrNetwork, Name, Port, Seconds, Section, Word


class NodeSettings(Section):
    """Who the node is and where it listens."""

    ae_title: AeTitle = "MEDFAKE"
    host: Host = "127.0.0.1"
    port: Port = 11112
    state_dir: Path = Path("state")
    receivers: int = Field(default=1, ge=1, le=16)


class DatabaseSettings(Section):
    """Where the tables are; an empty URL means SQLite in ``state_dir``."""

    url: str = ""

    @model_validator(mode="after")
    def _check_url(self) -> "DatabaseSettings":
        if not self.url:
            return self
        try:
            url = make_url(self.url)
        except ArgumentError:
            raise ValueError("this is no database URL; write postgresql+psycopg://user@host/database") from None
        if url.drivername not in {"postgresql+psycopg", "sqlite", "sqlite+pysqlite"}:
            raise ValueError(f"{url.drivername} isn't supported; write postgresql+psycopg://user@host/database")
        if url.drivername.startswith("sqlite") and url.database in {None, "", ":memory:"}:
            raise ValueError("a database in memory is lost at the end; leave it empty, or write sqlite:////PATH")
        if url.password is not None or any("password" in key for key in url.query):
            raise ValueError("a password doesn't belong here; use PGPASSFILE (~/.pgpass) or PGPASSWORD")
        return self


class AssociationSettings(Section):
    """Which associations are accepted, and the limits they run under."""

    require_called_ae_title: bool = True
    called_ae_titles: tuple[AeTitle, ...] = ()
    accept_unknown_peers: bool = False
    accept_other_objects: bool = True
    max_associations: int = Field(default=32, ge=1, le=1000)
    max_associations_per_peer: int = Field(default=16, ge=1, le=1000)
    max_pdu_bytes: int = Field(default=131_072, ge=4096, le=16_777_216)
    acse_timeout_s: Seconds = 30.0
    dimse_timeout_s: Seconds = 60.0
    network_timeout_s: Seconds = 60.0
    rejections_logged_per_minute: int = Field(default=60, ge=1, le=100_000)


class TlsSettings(Section):
    """The node's certificate and whom it trusts; key passwords come from a file."""

    certificate: Path
    key: Path
    key_password_file: Path | None = None
    ca: Path
    require_client_certificate: bool = True


class CompletionSettings(Section):
    """When a study is taken to be complete."""

    quiet_s: Seconds = 5.0
    idle_association_s: Seconds = 30.0
    max_wait_s: Seconds = 600.0

    @model_validator(mode="after")
    def _check_order(self) -> "CompletionSettings":
        if self.max_wait_s < self.quiet_s:
            raise ValueError("max_wait_s is shorter than quiet_s; make it at least as long")
        return self


class SpoolSettings(Section):
    """How much room the spool must leave, and how long it keeps what is done."""

    min_free_bytes: int = Field(default=2_000_000_000, ge=0)
    retention_days: float = Field(default=7.0, gt=0, le=36_500)


class PixelSettings(Section):
    """Bounds on what one image may cost to decode."""

    timeout_s: Seconds = 30.0
    max_memory_bytes: int = Field(default=2_147_483_648, ge=268_435_456)
    max_pixels_per_frame: int = Field(default=100_000_000, ge=1)
    max_frames: int = Field(default=10_000, ge=1)
    max_decoded_bytes: int = Field(default=8_589_934_592, ge=1)


class ScoringSettings(Section):
    """How images are scored; ``threads`` 0 lets the engine choose."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=0, ge=0, le=256)
    chunk_images: int = Field(default=16, ge=1, le=256)
    models_dir: Path | None = None


class ModelsSettings(Section):
    """How a new bundle takes the place of the one in force, and how common fakes are; shares are from 0 to 1.

    ``prevalence``: the share of images taken to be fake, for a probability beside the calibrated one; 0: none is said.
    """

    prevalence: float = Field(default=0.0, ge=0, lt=1)
    incoming_dir: str = ""
    switch: Literal["automatic", "manual"] = "automatic"
    max_weights_bytes: int = Field(default=40_000_000, ge=1_000)
    canary_images: int = Field(default=100, ge=1, le=10_000)
    canary_minimum: int = Field(default=10, ge=0, le=10_000)
    canary_margin_fake: float = Field(default=0.01, ge=0, le=1)
    canary_margin_undecided: float = Field(default=0.05, ge=0, le=1)
    canary_timeout_s: Seconds = 900.0

    @model_validator(mode="after")
    def _check_numbers(self) -> "ModelsSettings":
        if self.canary_minimum > self.canary_images:
            raise ValueError("canary_minimum is more than canary_images; make it at most as many")
        return self


class ReportSettingsModel(Section):
    """What the reports say of their maker, and what is reported."""

    manufacturer: str = Field(default="medfake_pacs", min_length=1, max_length=64)
    station_name: str = Field(default="", max_length=16)
    preliminary: bool = True
    report_unrouted: bool = False
    unrouted_send_to: tuple[Name, ...] = ()


class AuditSettings(Section):
    """Where the log's head is anchored outside the database."""

    syslog: str = ""
    anchor_file: str = ""


class LogSettings(Section):
    """How much the processes say on standard error, one JSON object a line."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class PeerSettings(Section):
    """An application entity that may send to the node, and from where."""

    ae_title: AeTitle
    hosts: tuple[HostOrNetwork, ...] = Field(min_length=1)
    tls_subject: str = ""


class DestinationSettings(Section):
    """An application entity that reports are sent to."""

    name: Name
    ae_title: AeTitle
    host: Host
    port: Port
    tls: bool = False
    storage_commitment: bool = False
    timeout_s: Seconds = 30.0
    retry: RetrySettings = RetrySettings()


class RouteSettings(Section):
    """Which images get which model, and who gets the report; an absent condition always holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: Name
    from_: tuple[AeTitle, ...] = Field(default=(), alias="from")
    called: tuple[AeTitle, ...] = ()
    modality: tuple[Word, ...] = ()
    body_part: tuple[Word, ...] = ()
    description: tuple[Word, ...] = ()
    model: str = ""
    send_to: tuple[Name, ...] = ()


class Settings(Section):
    """The whole configuration of one node."""

    node: NodeSettings = NodeSettings()
    database: DatabaseSettings = DatabaseSettings()
    association: AssociationSettings = AssociationSettings()
    tls: TlsSettings | None = None
    completion: CompletionSettings = CompletionSettings()
    spool: SpoolSettings = SpoolSettings()
    pixels: PixelSettings = PixelSettings()
    scoring: ScoringSettings = ScoringSettings()
    models: ModelsSettings = ModelsSettings()
    report: ReportSettingsModel = ReportSettingsModel()
    console: ConsoleSettings = ConsoleSettings()
    smtp: SmtpSettings | None = None
    audit: AuditSettings = AuditSettings()
    log: LogSettings = LogSettings()
    peers: tuple[PeerSettings, ...] = ()
    destinations: tuple[DestinationSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    notifications: tuple[NotificationSettings, ...] = ()

    @property
    def spool_dir(self) -> Path:
        """Where received objects are kept."""
        return self.node.state_dir / "spool"

    @property
    def reports_dir(self) -> Path:
        """Where reports are kept: in the spool, so that nodes which share it can send one another's."""
        return self.spool_dir / "reports"

    @property
    def checks_dir(self) -> Path:
        """Where uploaded images are kept: in the spool, so that console and worker may run on two machines."""
        return self.spool_dir / "checks"

    @property
    def cache_dir(self) -> Path:
        """Where compiled models are kept; may be deleted at any time."""
        return self.node.state_dir / "cache"

    @property
    def models_dir(self) -> Path:
        """Where the model bundles are that the node came with."""
        return self.scoring.models_dir or Path(__file__).resolve().parent.parent / "models"

    @property
    def model_library_dir(self) -> Path:
        """Where the bundles are that came later, those that wait, and those that were refused."""
        return self.node.state_dir / "models"

    @property
    def incoming_models_dir(self) -> Path:
        """Where new bundles are put to be taken."""
        return Path(self.models.incoming_dir) if self.models.incoming_dir else self.model_library_dir / "incoming"

    @property
    def anchor_file(self) -> Path | None:
        """Where the head of the log is written daily, or None."""
        return Path(self.audit.anchor_file) if self.audit.anchor_file else None

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the node's tables."""
        return self.database.url or f"sqlite:///{self.node.state_dir / 'medfake.db'}"

    @property
    def workflow_database_url(self) -> str:
        """The URL of the durable workflows' tables: their own SQLite file, or the same PostgreSQL database."""
        if self.database_url.startswith("sqlite"):
            return f"sqlite:///{self.node.state_dir / 'workflows.db'}"
        return self.database_url

    @property
    def node_id(self) -> str:
        """What tells this node from others that share its database: host and port."""
        return f"{socket.gethostname()}:{self.node.port}"

    @property
    def called_ae_titles(self) -> tuple[str, ...]:
        """Every AE title that the node answers to."""
        return (self.node.ae_title, *self.association.called_ae_titles)
