"""A receiver in its own process for the tests, senders for it, and what it left in database and spool."""

import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import sqlalchemy as sa
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_context
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ, A_RELEASE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    A_RELEASE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)

from medfake_pacs.config import Settings, load_settings
from medfake_pacs.database import open_engine
from medfake_pacs.database.tables import audit_events, instances
from medfake_pacs.spool.header import configure_reading
from tests.support import REPOSITORY, free_port, wait_for

CALLED = "MEDFAKE"
CALLING = "MODALITY1"
START_S = 30.0
DCMTK_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}

_TEMPLATE = """
[node]
ae_title = "{called}"
host = "127.0.0.1"
port = {port}
state_dir = "state"
{node}
[database]
url = "{url}"
[association]
{association}
[spool]
min_free_bytes = {min_free_bytes}
[log]
level = "debug"
{extra}
[[peers]]
ae_title = "{calling}"
hosts = ["127.0.0.1", "::1"]
{peers}
"""


def write_config(
    folder: Path, database_url: str = "", *, association: str = "", node: str = "", peers: str = "", extra: str = "",
    min_free_bytes: int = 0,
) -> Path:  # fmt: skip
    """Write a configuration for a receiver on a free port; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "medfake.toml"
    path.write_text(
        _TEMPLATE.format(
            called=CALLED,
            calling=CALLING,
            port=free_port(),
            url=database_url,
            association=association,
            node=node,
            peers=peers,
            extra=extra,
            min_free_bytes=min_free_bytes,
        )
    )
    return path


class Receiver:
    """A running receiver process."""

    def __init__(self, config: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.config = config
        self.settings: Settings = load_settings(config, {})
        self.process = process
        self.log = log
        self.port = self.settings.node.port

    def events(self) -> list[dict[str, Any]]:
        """Return what it has logged so far."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def has_logged(self, event: str) -> bool:
        """Tell whether it has logged ``event``."""
        return any(item["event"] == event for item in self.events())

    def stop(self, timeout_s: float = 30.0) -> int:
        """Ask it to stop and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """Kill it by SIGKILL."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def started_receiver(
    config: Path, *, index: int = 0, environment: Mapping[str, str] | None = None
) -> Iterator[Receiver]:
    """Start a receiver; kill it at the end if it still runs."""
    log = config.parent / f"receiver-{index}-{len(list(config.parent.glob('receiver-*.log')))}.log"
    command = [sys.executable, "-m", "medfake_pacs.receiver", "--config", str(config), "--index", str(index)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stderr=stream, stdout=stream, env={**os.environ, **(environment or {})}
        )
    try:
        yield Receiver(config, process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@contextmanager
def running_receiver(
    config: Path, *, index: int = 0, environment: Mapping[str, str] | None = None
) -> Iterator[Receiver]:
    """Start a receiver and wait until it listens; kill it at the end if it still runs."""
    with started_receiver(config, index=index, environment=environment) as receiver:
        wait_for(
            lambda: receiver.has_logged("listening") or receiver.process.poll() is not None,
            START_S,
            "the receiver to listen",
        )
        assert receiver.process.poll() is None, receiver.log.read_text()
        yield receiver


def ct_image(*, rows: int = 64, study: str = "", sop_instance_uid: str = "", fill: int = 0, **values: Any) -> Dataset:
    """Return a small CT image; ``fill`` changes its pixels and nothing else."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = sop_instance_uid or generate_uid(None)
    dataset.StudyInstanceUID = study or generate_uid(None)
    dataset.SeriesInstanceUID = dataset.StudyInstanceUID + ".1"
    dataset.Modality = "CT"
    dataset.PatientID = "P1"
    dataset.PatientName = "Doe^Jane"
    dataset.InstanceNumber = 1
    dataset.Rows = dataset.Columns = rows
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = fill.to_bytes(2, "little") * (rows * rows)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write ``dataset`` as a Part 10 file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@contextmanager
def association(
    port: int,
    *,
    calling: str = CALLING,
    called: str = CALLED,
    sop_classes: Sequence[str] = (CTImageStorage,),
    host: str = "127.0.0.1",
    syntaxes: Sequence[str] = (ExplicitVRLittleEndian,),
    tls: ssl.SSLContext | None = None,
) -> Iterator[Any]:
    """Open an association as pynetdicom's SCU; release it at the end if it still stands."""
    configure_reading()
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    contexts = [build_context(uid, list(syntaxes)) for uid in sop_classes]
    assoc = ae.associate(host, port, ae_title=called, contexts=contexts, tls_args=(tls, host) if tls else None)
    # pynetdicom forgets to close a socket whose peer has gone.
    connection = assoc.dul.socket.socket if assoc.dul.socket else None
    try:
        yield assoc
    finally:
        if assoc.is_established and assoc.dul.is_alive():
            assoc.release()
        # Its thread runs only where the association was accepted.
        if assoc.ident is not None:
            assoc.join(10)
        if connection is not None:
            connection.close()


def store(port: int, *datasets: Dataset, **options: Any) -> list[int | None]:
    """Send the data sets on one association; return each status, None from where no answer came."""
    sop_classes = sorted({str(dataset.SOPClassUID) for dataset in datasets})
    statuses: list[int | None] = []
    with association(port, sop_classes=sop_classes, **options) as assoc:
        for dataset in datasets:
            lost = not assoc.is_established or not assoc.dul.is_alive() or statuses[-1:] == [None]
            statuses.append(None if lost else assoc.send_c_store(dataset).get("Status"))
    return statuses


def associate_request(calling: str, called: str, sop_class: str = CTImageStorage) -> bytes:
    """Return an A-ASSOCIATE-RQ PDU with one presentation context."""
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16_384, UID("1.2.3")
    context = build_context(sop_class, ExplicitVRLittleEndian)
    context.context_id = 1
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    primitive.presentation_context_definition_list = [context]
    primitive.user_information = [length, implementation]
    return A_ASSOCIATE_RQ(primitive).encode()


def begin_object(connection: socket.socket) -> None:
    """Open an association and send the first two of the PDUs of an object."""
    connection.sendall(associate_request(CALLING, CALLED))
    assert read_pdu(connection)[0] == 0x02
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CTImageStorage, "1.2.3"
    request.DataSet = BytesIO(b"\x00" * 50_000)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    for primitive in list(message.encode_msg(1, 16_000))[:2]:
        connection.sendall(P_DATA_TF(primitive).encode())


def read_pdu(connection: socket.socket) -> bytes:
    """Return the next PDU, or empty bytes at the end of the connection."""
    header = _read(connection, 6)
    return header + _read(connection, int.from_bytes(header[2:], "big")) if header else b""


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def rejection(
    port: int, *, calling: str = CALLING, called: str = CALLED, host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> tuple[int, int, int] | None:  # fmt: skip
    """Ask for an association; return result, source and reason if it is rejected, None if it is accepted.

    It speaks PDUs itself: pynetdicom's SCU takes a rejection that comes at once for a failed connection.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((host, port), timeout=30))
        if tls:
            connection = stack.enter_context(tls.wrap_socket(connection))
        connection.sendall(associate_request(calling, called))
        answer = read_pdu(connection)
        if not answer:
            raise ConnectionError("no answer")
        if answer[0] == 0x03:
            return answer[7], answer[8], answer[9]
        assert answer[0] == 0x02
        connection.sendall(A_RELEASE_RQ(A_RELEASE()).encode())
        assert read_pdu(connection)[0] == 0x06
    return None


def rows(settings: Settings, query: sa.Select[Any]) -> list[Any]:
    """Return the rows of a query on the node's database."""
    engine = open_engine(settings.database_url)
    try:
        with engine.connect() as connection:
            return list(connection.execute(query))
    finally:
        engine.dispose()


def instance_rows(settings: Settings) -> list[Any]:
    """Return the instances that are recorded, in their order."""
    return rows(settings, sa.select(instances).order_by(instances.c.instance_id))


def audit_rows(settings: Settings, kind: str) -> list[dict[str, Any]]:
    """Return the payloads of the log's events of one kind, in their order."""
    query = sa.select(audit_events.c.payload).where(audit_events.c.kind == kind).order_by(audit_events.c.seq)
    return [json.loads(row.payload) for row in rows(settings, query)]


def data_set_bytes(path: Path) -> bytes:
    """Return the bytes of a Part 10 file after its File Meta Information."""
    meta = pydicom.filereader.read_file_meta_info(path)
    return path.read_bytes()[144 + meta.FileMetaInformationGroupLength :]


def content_sha256(path: Path) -> str:
    """Return the digest by which the spool names a Part 10 file: of its transfer syntax UID, a NUL and its data set."""
    syntax = pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID
    return hashlib.sha256(syntax.encode() + b"\x00" + data_set_bytes(path)).hexdigest()


def assert_spool_is_sound(settings: Settings) -> None:
    """Check that every row's object is there and is what the row says, and that nothing half-received is left."""
    for row in instance_rows(settings):
        path = settings.spool_dir / row.path
        assert content_sha256(path) == row.content_sha256
        assert len(data_set_bytes(path)) == row.size_bytes
    assert incoming_files(settings) == []


def incoming_files(settings: Settings) -> list[Path]:
    """Return the objects that are under construction."""
    return sorted((settings.spool_dir / "incoming").glob("*/object-*"))


def object_files(settings: Settings) -> list[Path]:
    """Return the objects in the spool."""
    return sorted((settings.spool_dir / "objects").glob("*/*.dcm"))


def connect(port: int) -> socket.socket:
    """Open a bare TCP connection."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)
