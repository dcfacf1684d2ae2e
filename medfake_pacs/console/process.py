"""The console's process: uvicorn around the application, until SIGTERM or SIGINT."""

import logging
import socket
from pathlib import Path

import uvicorn

from medfake_pacs.config import Settings
from medfake_pacs.console.app import create_app
from medfake_pacs.console.rendering.frames import FrameReader
from medfake_pacs.console.services import Services
from medfake_pacs.console.templating import make_templates
from medfake_pacs.database import open_engine
from medfake_pacs.workflows.context import Decoders, pixel_limits

_STOP_TIMEOUT_S = 10
_log = logging.getLogger(__name__)


def open_services(settings: Settings, config_path: Path) -> Services:
    """Return what the application needs; its ``close`` must be called."""
    decoders = Decoders(pixel_limits(settings))
    return Services(
        settings=settings,
        config_path=config_path,
        engine=open_engine(settings.database_url),
        decoders=decoders,
        frames=FrameReader(decoders),
        templates=make_templates(),
    )


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
        forwarded_allow_ips=list(console.trusted_proxies),
        ssl_certfile=console.certificate,
        ssl_keyfile=console.key,
        timeout_graceful_shutdown=_STOP_TIMEOUT_S,
        lifespan="on",
    )
    return uvicorn.Server(config)


def run(settings: Settings, config_path: Path) -> int:
    """Serve until SIGTERM or SIGINT; return the process' exit code."""
    server = make_server(open_services(settings, config_path))
    family = socket.AF_INET6 if ":" in settings.console.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.console.host, settings.console.port))
        _log.info("console listening", extra={"host": settings.console.host, "port": settings.console.port})
        server.run(sockets=[listener])
    return 0
