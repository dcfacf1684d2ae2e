"""What a configuration may say of the web console, of signing in, and of notifications."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from medfake_pacs.config.retry import RetrySettings
from medfake_pacs.config.types import Host, Name, Port, Seconds, Section

_HTTP_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?$")
# Unlike the console's own address it may have a query: some services take their key there.
_WEBHOOK_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?(\?[^\s#]*)?$")
_MAIL_ADDRESS = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+$")


def _check_http_url(value: str) -> str:
    if not _HTTP_URL.match(value):
        raise ValueError("this is no address of a web server; write https://host or https://host/path")
    return value.rstrip("/")


def _check_webhook_url(value: str) -> str:
    if not _WEBHOOK_URL.match(value):
        raise ValueError("this is no address of a web server; write https://host/path, without name and password")
    return value


def _check_mail_address(value: str) -> str:
    if not _MAIL_ADDRESS.match(value):
        raise ValueError("this is no e-mail address; write name@host")
    return value


def _check_proxy(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        # A name would never match: connections have addresses.
        raise ValueError("this is no address or network; write 10.1.2.3 or 10.1.2.0/24") from None
    return value


ProxyAddress = Annotated[str, AfterValidator(_check_proxy)]
HttpUrl = Annotated[str, AfterValidator(_check_http_url)]
WebhookUrl = Annotated[str, AfterValidator(_check_webhook_url)]
MailAddress = Annotated[str, AfterValidator(_check_mail_address)]
RoleName = Literal["viewer", "radiologist", "auditor", "administrator"]


class OidcSettings(Section):
    """Signing in by OpenID Connect; the client's secret comes from a file.

    Without ``roles_claim`` whoever signs in for the first time gets ``default_roles`` and, unless
    ``approve_automatically``, waits for an administrator.
    """

    name: str = Field(default="single sign-on", min_length=1, max_length=64)
    issuer: HttpUrl
    client_id: str = Field(min_length=1)
    client_secret_file: Path
    roles_claim: str = ""
    default_roles: tuple[RoleName, ...] = ("viewer",)
    approve_automatically: bool = False


class ConsoleSettings(Section):
    """Where the web console listens, who may register, and what it takes."""

    enabled: bool = True
    host: Host = "127.0.0.1"
    port: Port = 8080
    public_url: HttpUrl | None = None
    certificate: Path | None = None
    key: Path | None = None
    trusted_proxies: tuple[ProxyAddress, ...] = ()
    registration: Literal["closed", "invitation", "open"] = "invitation"
    session_idle_s: Seconds = 3600.0
    session_max_s: Seconds = 43_200.0
    max_upload_bytes: int = Field(default=1_000_000_000, ge=1_000_000)
    check_retention_days: float = Field(default=7.0, gt=0, le=36_500)
    max_checks_bytes: int = Field(default=20_000_000_000, ge=1_000_000)
    max_account_checks_bytes: int = Field(default=5_000_000_000, ge=1_000_000)
    oidc: OidcSettings | None = None

    @model_validator(mode="after")
    def _check_pairs(self) -> "ConsoleSettings":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; set both, or neither for plain HTTP")
        if self.session_max_s < self.session_idle_s:
            raise ValueError("session_max_s is shorter than session_idle_s; make it at least as long")
        if self.oidc and not self.public_url:
            raise ValueError("oidc needs the address that browsers use; set console.public_url")
        return self

    @property
    def url(self) -> str:
        """The address that browsers use, without a slash at its end."""
        scheme = "https" if self.certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"{scheme}://{host}:{self.port}"

    @property
    def is_https(self) -> bool:
        """Tell whether browsers reach the console over TLS, so that cookies may be kept to it."""
        return self.url.startswith("https://")


class SmtpSettings(Section):
    """The server that takes e-mail; its password comes from a file. ``ca``: whose certificates it may have."""

    host: Host
    port: Port = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca: Path | None = None
    user: str = ""
    password_file: Path | None = None
    sender: MailAddress
    timeout_s: Seconds = 30.0

    @model_validator(mode="after")
    def _check_password(self) -> "SmtpSettings":
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file belong together; set both, or neither")
        if self.user and self.security == "none":
            raise ValueError("the password would go over the network in clear; set security to starttls or tls")
        return self


class NotificationSettings(Section):
    """Whom to tell of a verdict: a webhook by POST, or people by e-mail."""

    name: Name
    kind: Literal["webhook", "email"]
    on: tuple[Literal["fake", "indeterminate", "real", "not assessed"], ...] = Field(default=("fake",), min_length=1)
    url: WebhookUrl | None = None
    secret_file: Path | None = None
    ca: Path | None = None
    to: tuple[MailAddress, ...] = ()
    template_file: Path | None = None
    timeout_s: Seconds = 30.0
    retry: RetrySettings = RetrySettings()

    @model_validator(mode="after")
    def _check_kind(self) -> "NotificationSettings":
        if self.kind == "webhook" and not self.url:
            raise ValueError("a webhook needs an address; set url")
        if self.kind == "email" and not self.to:
            raise ValueError("an e-mail needs someone to go to; set to")
        if self.kind == "webhook" and self.to:
            raise ValueError("a webhook has no recipients; remove to, or set kind to email")
        if self.kind == "email" and (self.url or self.secret_file or self.ca):
            raise ValueError("url, secret_file and ca are a webhook's; remove them, or set kind to webhook")
        return self
