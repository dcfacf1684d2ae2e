"""A console to test: the real server on an ephemeral port in a thread, accounts with roles, clients signed in."""

import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import sqlalchemy as sa

from medfake_pacs.config import Settings, parse_settings
from medfake_pacs.console.process import make_server, open_services
from medfake_pacs.console.security import passwords, sessions
from medfake_pacs.console.security.permissions import Permission, Role, permissions_of
from medfake_pacs.console.security.tokens import PREFIX
from medfake_pacs.console.services import Services
from medfake_pacs.database import transaction
from medfake_pacs.database.console_tables import api_tokens, users
from medfake_pacs.serve import prepare
from tests.support import wait_for

PASSWORD = "correct horse battery staple"


class ConsoleServer:
    """A console that runs, and what a test does with it from outside."""

    def __init__(self, services: Services, port: int) -> None:
        self.services = services
        self.settings = services.settings
        self.engine = services.engine
        self.url = f"http://127.0.0.1:{port}"
        self._clients: list[httpx.Client] = []

    def anonymous(self) -> httpx.Client:
        """Return a client that isn't signed in; it doesn't follow redirects."""
        # As a browser does with what it sends from a page of this console.
        client = httpx.Client(
            base_url=self.url, timeout=30, headers={"Origin": self.settings.console.public_url or self.url}
        )
        self._clients.append(client)
        return client

    def add_user(self, name: str, *roles: Role, state: str = "active", password: str = PASSWORD) -> int:
        """Make an account and return its id."""
        row = {
            "user_name": name,
            "display_name": name.title(),
            "password_hash": _hash(password),
            "roles": ",".join(sorted(roles)),
            "state": state,
            "created_at": time.time(),
            "password_changed_at": time.time(),
        }
        with transaction(self.engine) as connection:
            return int(connection.execute(sa.insert(users).values(row)).inserted_primary_key[0])

    def signed_in(self, *roles: Role, name: str = "") -> httpx.Client:
        """Return a client with a session of a new account that has these roles."""
        user_id = self.add_user(name or f"{'-'.join(roles) or 'nobody'}-{secrets.token_hex(3)}", *roles)
        secret = sessions.begin(self.services, user_id, "127.0.0.1", "test", time.time())
        client = self.anonymous()
        client.cookies.set(sessions.cookie_name(self.services), secret)
        return client

    def with_token(self, *roles: Role, scopes: Iterable[Permission] | None = None) -> httpx.Client:
        """Return a client with a bearer token of a new account that has these roles; all their rights by default."""
        user_id = self.add_user(f"token-{secrets.token_hex(3)}", *roles)
        secret = PREFIX + secrets.token_urlsafe(32)
        with transaction(self.engine) as connection:
            connection.execute(
                sa.insert(api_tokens).values(
                    token_sha256=sessions.digest(secret),
                    user_id=user_id,
                    name="test",
                    scopes=",".join(sorted(permissions_of(roles) if scopes is None else scopes)),
                    created_at=time.time(),
                    expires_at=time.time() + 3600,
                )
            )
        client = self.anonymous()
        client.headers["Authorization"] = f"Bearer {secret}"
        return client

    def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            client.close()


def console_settings(folder: Path, database_url: str = "", extra: dict[str, object] | None = None) -> Settings:
    """Return settings for a console on state of its own under ``folder``; ``extra`` is merged in, by section."""
    document: dict[str, object] = {
        "node": {"state_dir": str(folder / "state")},
        "database": {"url": database_url},
        "spool": {"min_free_bytes": 0},
        **(extra or {}),
    }
    return parse_settings(document, base=folder)


@contextmanager
def running_console(settings: Settings, config_path: Path = Path("medfake.toml")) -> Iterator[ConsoleServer]:
    """Yield a console that answers on an ephemeral port of loopback; the tables are made first."""
    prepare(settings)
    services = open_services(settings, config_path)
    server = make_server(services)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_for(lambda: server.started or not thread.is_alive(), 30, "the console to start")
            console = ConsoleServer(services, listener.getsockname()[1])
            yield console
            console.close()
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def _hash(password: str) -> str:
    return passwords.hashed(password)
