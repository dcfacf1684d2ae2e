"""What the browser tests drive: a whole node with its console, an archive that takes its reports, one that doesn't."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from medfake_pacs.console.security import passwords
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import open_engine, transaction
from medfake_pacs.database.console_tables import users
from tests.node import NodeProcess
from tests.orthanc import OrthancPeer
from tests.support import free_port, need_tool

PASSWORD = "correct horse battery staple"
EVERY_ROLE = tuple(Role)
# Reports on what CLINIC sends go to an archive that doesn't listen; after a second they are dead letters.
_CONFIGURATION = """
[console]
port = {console_port}
registration = "open"

[[destinations]]
name = "clinic-archive"
ae_title = "CLINICARCHIVE"
host = "127.0.0.1"
port = {far_port}
timeout_s = 5
[destinations.retry]
first_delay_s = 0.2
max_delay_s = 0.3
give_up_after_s = 1
"""
_ROUTES = """
[[routes]]
name = "from the clinic"
from = ["CLINIC"]
model = "lung-ct"
send_to = ["clinic-archive"]

[[routes]]
name = "CT"
modality = ["CT"]
model = "lung-ct"
send_to = ["pacs"]

[[routes]]
name = "X-ray"
modality = ["CR", "DX", "RG"]
model = "knee-xr"
send_to = ["pacs"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who may sign in."""

    name: str
    password: str = PASSWORD


@dataclass(slots=True, kw_only=True)
class System:
    """A node that runs, and what the tests need to know about it."""

    node: NodeProcess
    orthanc: OrthancPeer
    far_port: int
    _accounts: dict[str, Account] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the console is, without a slash at the end."""
        return f"http://127.0.0.1:{self.node.console_port}"

    def account(self, name: str, *roles: Role) -> Account:
        """Return an account, made at its first use, that an administrator needn't approve."""
        if name not in self._accounts:
            self._accounts[name] = Account(name=name)
            row = {
                "user_name": name,
                "display_name": name.replace("-", " ").title(),
                "password_hash": passwords.hashed(PASSWORD),
                "roles": ",".join(sorted(roles)),
                "state": "active",
                "created_at": time.time(),
                "password_changed_at": time.time(),
            }
            engine = open_engine(self.node.database_url)
            with transaction(engine) as connection:
                connection.execute(sa.insert(users).values(row))
            engine.dispose()
        return self._accounts[name]

    def storescu(self, *paths: Path, calling: str = "PACS1") -> None:
        """Send files to the node with DCMTK."""
        command = [need_tool("/usr/bin/storescu"), "-aet", calling, "-aec", self.node.ae_title, "127.0.0.1"]
        command += [str(self.node.port), *(str(path) for path in paths)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


def make_node(folder: Path, *, orthanc: OrthancPeer, far_port: int, cache: Path) -> NodeProcess:
    """Return a node, not started, whose console is open for registration."""
    console_port = free_port()
    node = NodeProcess(
        folder,
        destinations=[("pacs", orthanc.ae_title, orthanc.dicom_port)],
        peers=("PACS1", "CLINIC", "ORTHANC"),
        routes=_ROUTES,
        extra=_CONFIGURATION.format(console_port=console_port, far_port=far_port),
        cache=cache,
    )
    node.console_port = console_port
    return node


@contextmanager
def running_system(folder: Path, cache: Path) -> Iterator[System]:
    """Yield a node with its console, and an Orthanc as its archive."""
    (folder / "orthanc").mkdir(parents=True)
    orthanc = OrthancPeer(folder / "orthanc").start()
    far_port = free_port()
    node = make_node(folder / "node", orthanc=orthanc, far_port=far_port, cache=cache)
    try:
        node.start()
        yield System(node=node, orthanc=orthanc, far_port=far_port)
    finally:
        node.kill()
        orthanc.stop()
