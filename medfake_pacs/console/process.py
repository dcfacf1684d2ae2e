"""The console's process: uvicorn around the application, until SIGTERM or SIGINT."""

import ipaddress
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn

from medfake_pacs.config import Settings
from medfake_pacs.console.app import create_app
from medfake_pacs.console.connections import PatientConnection
from medfake_pacs.console.rendering.frames import FrameReader
from medfake_pacs.console.security.permissions import Role, parse_roles
from medfake_pacs.console.services import Services
from medfake_pacs.console.templating import make_templates
from medfake_pacs.database import open_engine, reading
from medfake_pacs.database.console_tables import users
from medfake_pacs.database.heartbeat import Heart
from medfake_pacs.workflows.context import Decoders, pixel_limits

NO_ADMINISTRATOR = "no administrator yet: medfake-pacs user add NAME --role administrator"
# Whoever comes then is answered 503; operations.md has the number. A process may usually open 1024 files.
MOST_CONNECTIONS = 400
_KEEP_ALIVE_S = 5
_STOP_TIMEOUT_S = 10
_IPV4 = 4
_log = logging.getLogger(__name__)


def open_services(settings: Settings, config_path: Path) -> Services:
    """Return what the application needs; its ``close`` must be called."""
    decoders = Decoders(pixel_limits(settings))
    return Services(
        settings=settings,
        config_path=config_path,
        engine=_open_engine(settings.database_url),
        decoders=decoders,
        frames=FrameReader(decoders),
        templates=make_templates(),
    )


def _open_engine(url: str) -> sa.Engine:
    """Open the database so that PostgreSQL plans each search for its own values.

    A prepared statement gets one plan for all: made for a frequent value, it walks the whole log for a rare one.
    """
    engine = open_engine(url)
    if engine.dialect.name == "postgresql":
        sa.event.listen(engine, "connect", _never_prepare)
    return engine


def _never_prepare(connection: Any, _record: Any) -> None:
    connection.prepare_threshold = None


def make_server(services: Services) -> uvicorn.Server:
    """Return the server, not yet listening. It keeps no access log: addresses hold what people searched for."""
    console = services.settings.console
    config = uvicorn.Config(
        create_app(services),
        host=console.host,
        port=console.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(console.trusted_proxies),
        forwarded_allow_ips=_as_seen(console.trusted_proxies),
        ssl_certfile=console.certificate,
        ssl_keyfile=console.key,
        http=PatientConnection,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_TIMEOUT_S,
        lifespan="on",
    )
    return uvicorn.Server(config)


def _as_seen(addresses: Sequence[str]) -> list[str]:
    """Return the trusted addresses as a socket may show them: IPv4 also mapped into IPv6, for a listener on ``::``."""
    networks = [ipaddress.ip_network(address) for address in addresses]
    mapped = [f"::ffff:{net.network_address}/{96 + net.prefixlen}" for net in networks if net.version == _IPV4]
    return [*map(str, networks), *mapped]


def run(settings: Settings, config_path: Path) -> int:
    """Serve until SIGTERM or SIGINT; return the process' exit code: 1 if it can't listen."""
    console = settings.console
    family = socket.AF_INET6 if ":" in console.host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on, and answers wait 40 ms for an acknowledgement.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((console.host, console.port))
            listener.listen()
        except OSError as error:
            remedy = "change console.port or console.host, or set console.enabled = false; the rest of the node goes on"
            extra = {"host": console.host, "port": console.port, "reason": error.strerror, "remedy": remedy}
            _log.error("the console can't listen", extra=extra)
            return 1
        services = open_services(settings, config_path)
        server = make_server(services)
        heart = Heart(services.engine, f"{settings.node_id}/console", "console")
        heart.start()
        try:
            _log.info("console listening", extra={"host": console.host, "port": console.port, "url": console.url})
            _hint(services)
            server.run(sockets=[listener])
        finally:
            heart.stop()
            services.close()
    return 0


def has_administrator(connection: sa.Connection) -> bool:
    """Tell whether somebody can approve accounts."""
    query = sa.select(users.c.roles).where(users.c.state == "active", users.c.roles.contains(Role.ADMINISTRATOR))
    return any(Role.ADMINISTRATOR in parse_roles(roles) for roles in connection.execute(query).scalars())


def _hint(services: Services) -> None:
    """Say how the first administrator is made, for as long as there is none."""
    try:
        with reading(services.engine) as connection:
            if not has_administrator(connection):
                _log.warning(NO_ADMINISTRATOR)
    except sa.exc.SQLAlchemyError as error:
        _log.error("accounts can't be read", extra={"reason": type(error).__name__})
