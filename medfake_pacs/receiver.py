"""The receiver process: Verification and Storage SCP, from start to stop.

It answers an object with Success only when the object, its place and its row are durable. It loads no
model and knows no destination.
"""

import argparse
import gc
import itertools
import logging
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from types import FrameType

import sqlalchemy as sa
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from medfake_pacs import audit, telemetry
from medfake_pacs.association.policy import AllowedPeer, Policy, is_peers_host
from medfake_pacs.association.reception import Load, Reception, Receptionist
from medfake_pacs.association.register import Register, record
from medfake_pacs.association.rejections import Clerk, Throttle
from medfake_pacs.association.resolver import CachingResolver
from medfake_pacs.association.server import ReceiverServer, ServerLimits
from medfake_pacs.association.tls import server_context
from medfake_pacs.association.waiting_room import Room, WaitingRoom
from medfake_pacs.config import Settings, find_configuration, load_settings
from medfake_pacs.database import open_engine, reading, transaction, upgrade
from medfake_pacs.database.heartbeat import HEARTBEAT_S, beat
from medfake_pacs.database.tables import instances
from medfake_pacs.entities import AuditEvent, SpooledInstance
from medfake_pacs.errors import CannotUnderstandError, ConfigurationError, MedfakeError
from medfake_pacs.pixels.syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from medfake_pacs.report.recognise import is_own_report
from medfake_pacs.spool import Spool
from medfake_pacs.spool.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_LOGGER = logging.getLogger(__name__)
_COLLECT_AFTER_OBJECTS = 20_000
_ABORT_S = 5.0
_ADOPTED_AT_ONCE = 100
_CODING_SCHEMES_TAG = 0x00080110
# Connections without an association: the first number of one address, the second of all.
_WAITING, _WAITING_STRANGERS = (32, 64), (8, 16)


def run(settings: Settings, *, index: int = 0) -> int:
    """Receive until SIGTERM or SIGINT; ``index`` tells the receivers of one node apart.

    Returns the exit status: 0 after a stop that was asked for, 1 if it could not start. Call it from the
    main thread of a process of its own, after ``telemetry.configure``.
    """
    # pydicom's warnings quote values, which are patient data.
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    stop = threading.Event()
    _stop_on_signals(stop)
    try:
        _Receiver(settings, index).serve(stop)
    except (MedfakeError, OSError, sa.exc.SQLAlchemyError) as error:
        _LOGGER.error("receiver failed", extra={"reason": _reason(error)})
        return 1
    return 0


class _Receiver:
    """The parts of one receiver, put together by the configuration."""

    def __init__(self, settings: Settings, index: int) -> None:
        self._settings = settings
        self._node_id = f"{settings.node_id}/receiver-{index}"
        self._engine = open_engine(settings.database_url)
        upgrade(self._engine)
        self._spool = Spool(settings.spool_dir, settings.spool.min_free_bytes, owner=f"receiver-{index}")
        self._stopping = threading.Event()
        self._started_at = time.time()

    def serve(self, stop: threading.Event) -> None:
        """Sweep, listen, and beat until ``stop`` is set; then finish what is open."""
        register = Register(self._engine, self._node_id)
        register.close_stale()
        self._sweep()
        clerk = Clerk(self._engine, Throttle(self._settings.association.rejections_logged_per_minute))
        server = self._server(register, clerk)
        self._log_event("node-started")
        self._beat()
        _spare_the_collector()
        server.start()
        _LOGGER.info("listening", extra={"port": server.server_address[1], "node_id": self._node_id})
        while not stop.wait(HEARTBEAT_S):
            self._beat()
            clerk.summarise()
        self._stop(server)
        clerk.close()
        self._log_event("node-stopped")
        self._spool.close()

    def _sweep(self) -> None:
        cut_off = self._spool.sweep()
        adopted = 0
        objects = self._spool.adopt(self._on_record)
        while batch := list(itertools.islice(objects, _ADOPTED_AT_ONCE)):
            adopted += self._record_adopted(batch)
        _LOGGER.info("spool swept", extra={"cut_off": cut_off, "adopted": adopted})

    def _on_record(self, digests: Sequence[str]) -> set[str]:
        with reading(self._engine) as connection:
            query = sa.select(instances.c.content_sha256).where(instances.c.content_sha256.in_(digests))
            return set(connection.execute(query).scalars())

    def _record_adopted(self, batch: Sequence[SpooledInstance]) -> int:
        """Record adopted objects; one that can't be recorded keeps neither the others nor the start back."""
        try:
            return len(record(self._engine, batch, adopted=True))
        except CannotUnderstandError as error:
            if len(batch) == 1:
                _LOGGER.error("object not adopted", extra={"file": batch[0].path.name, "reason": str(error)})
                return 0
        return sum(self._record_adopted([spooled]) for spooled in batch)

    def _server(self, register: Register, clerk: Clerk) -> ReceiverServer:
        settings = self._settings
        policy = policy_of(settings)
        resolver = CachingResolver()
        resolver.warm(host for peer in settings.peers for host in peer.hosts)
        reception = Reception(
            policy=policy,
            resolve=resolver,
            load=Load(policy),
            spool=self._spool,
            register=register,
            clerk=clerk,
            image_syntaxes=SUPPORTED_TRANSFER_SYNTAXES,
            accept_others=settings.association.accept_other_objects,
            is_own_report=begins_own_report,
            stopping=self._stopping,
        )
        tls = settings.tls
        return ReceiverServer(
            (settings.node.host, settings.node.port),
            ae_title=settings.node.ae_title,
            limits=_limits(settings),
            user=lambda: Receptionist(reception),
            waiting_room=_waiting_room(policy, resolver, clerk),
            implementation=(IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME),
            tls=server_context(**dict(tls)) if tls else None,
            shared_port=settings.node.receivers > 1,
        )

    def _stop(self, server: ReceiverServer) -> None:
        """Refuse what is new, give what is open the network timeout to finish, then abort it."""
        _LOGGER.info("stopping", extra={"open": len(server.live)})
        self._stopping.set()
        server.stop_listening()
        self._wait_for_the_end(server, self._settings.association.network_timeout_s)
        for acceptor in server.live:
            acceptor.stop()
        self._wait_for_the_end(server, _ABORT_S)

    def _wait_for_the_end(self, server: ReceiverServer, limit_s: float) -> None:
        """Wait for the open associations, and beat: who doesn't beat counts as dead, its associations as ended."""
        now = time.monotonic()
        deadline, beat_at = now + limit_s, now
        while (live := server.live) and now < deadline:
            if now >= beat_at:
                self._beat()
                beat_at = now + HEARTBEAT_S
            live[0].join(min(deadline - now, HEARTBEAT_S))
            now = time.monotonic()

    def _beat(self) -> None:
        """Tell that this receiver is alive; without a database it goes on and is refused work only."""
        try:
            beat(self._engine, self._node_id, "receiver", started_at=self._started_at)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            _LOGGER.error("no heartbeat", extra={"reason": type(error).__name__})

    def _log_event(self, kind: str) -> None:
        event = AuditEvent(kind=kind, payload={"node_id": self._node_id, "role": "receiver"})
        try:
            with transaction(self._engine) as connection:
                audit.append(connection, event)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            _LOGGER.error("event not logged", extra={"kind": kind, "reason": type(error).__name__})


def _spare_the_collector() -> None:
    """Keep what was made at start out of Python's garbage collector, and have it look less often.

    Otherwise it walks all imported modules again and again while a sender waits for its answer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_OBJECTS)


def policy_of(settings: Settings) -> Policy:
    """Return who may send, as the configuration says.

    A receiver counts its own associations only: where a node has several, each takes its share of the
    limits, at least one association. The kernel deals connections out, so one may be full before the others.
    """
    limits = settings.association
    receivers = settings.node.receivers
    return Policy(
        called_ae_titles=frozenset(settings.called_ae_titles) if limits.require_called_ae_title else None,
        peers={
            peer.ae_title: AllowedPeer(ae_title=peer.ae_title, hosts=peer.hosts, tls_subject=peer.tls_subject)
            for peer in settings.peers
        },
        accept_unknown_peers=limits.accept_unknown_peers,
        max_associations=max(1, limits.max_associations // receivers),
        max_associations_per_peer=max(1, limits.max_associations_per_peer // receivers),
    )


def _waiting_room(policy: Policy, resolver: CachingResolver, clerk: Clerk) -> WaitingRoom:
    def refused(host: str) -> None:
        reason = "too many connections without an association"
        if clerk.log(AuditEvent(kind="connection-refused", payload={"reason": reason, "host": host})):
            _LOGGER.warning("connection refused", extra={"reason": reason, "host": host})

    # A peer may open at once all the associations that it may have.
    room = Room(
        of_address=max(_WAITING[0], policy.max_associations_per_peer),
        in_total=max(_WAITING[1], policy.max_associations),
    )
    strangers = Room(of_address=_WAITING_STRANGERS[0], in_total=_WAITING_STRANGERS[1])
    return WaitingRoom(
        known=room,
        unknown=room if policy.accept_unknown_peers else strangers,
        # Here everybody waits behind a name service that doesn't answer.
        is_known=lambda host: is_peers_host(policy, host, resolver.remembered),
        refused=refused,
    )


def begins_own_report(beginning: bytes, transfer_syntax_uid: str) -> bool:
    """Tell whether a data set that begins so is one of our reports, on its way back to us."""
    syntax = UID(transfer_syntax_uid)
    if syntax.is_deflated:
        return False
    try:
        dataset = read_dataset(
            BytesIO(beginning),
            syntax.is_implicit_VR,
            syntax.is_little_endian,
            stop_when=lambda tag, _vr, _length: tag > _CODING_SCHEMES_TAG,
        )
        return is_own_report(dataset)
    # What a parser raises on a stranger's bytes can't be listed; such an object isn't one of ours.
    except Exception:  # noqa: BLE001
        return False


def _limits(settings: Settings) -> ServerLimits:
    limits = settings.association
    return ServerLimits(
        max_associations=limits.max_associations,
        max_pdu_bytes=limits.max_pdu_bytes,
        acse_timeout_s=limits.acse_timeout_s,
        dimse_timeout_s=limits.dimse_timeout_s,
        network_timeout_s=limits.network_timeout_s,
    )


def _stop_on_signals(stop: threading.Event) -> None:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def _reason(error: Exception) -> str:
    # A database error's text holds its parameters.
    return type(error).__name__ if isinstance(error, sa.exc.SQLAlchemyError) else str(error)


def main(arguments: list[str] | None = None) -> int:
    """Run one receiver: ``python -m medfake_pacs.receiver --config FILE [--index N]``."""
    parser = argparse.ArgumentParser(prog="medfake_pacs.receiver", description="Receive images by C-STORE.")
    parser.add_argument("--config", type=Path, help="the configuration file")
    parser.add_argument("--index", type=int, default=0, help="tells the receivers of one node apart")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(find_configuration(options.config))
    except ConfigurationError as error:
        parser.exit(2, f"{error}\n")
    telemetry.configure(settings.log.level, f"receiver-{options.index}")
    return run(settings, index=options.index)


if __name__ == "__main__":
    raise SystemExit(main())
