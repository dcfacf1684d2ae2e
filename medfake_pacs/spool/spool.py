"""Make received objects durable, name them by their content, and find them again after a crash."""

import errno
import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from medfake_pacs import crashpoints
from medfake_pacs.entities import Peer, ReceivedInstance, SpooledInstance
from medfake_pacs.errors import CannotUnderstandError, OutOfResourcesError, SopClassMismatchError
from medfake_pacs.spool import file_meta
from medfake_pacs.spool.header import configure_reading, read_attributes, read_file_meta
from medfake_pacs.spool.incoming import IncomingFolder, IncomingObject, free_bytes

_LOGGER = logging.getLogger(__name__)
_SUFFIX = ".dcm"
_BLOCK_BYTES = 2**20
_DIGESTS_AT_ONCE = 500
_SYNCERS = 32
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Spool:
    """The folder that keeps received objects: ``incoming/`` while they arrive, ``objects/`` for good.

    An object's path comes from the SHA-256 of its data set: nothing that a peer sends names a file.
    The methods may be called from several threads, and from several processes on one folder.
    """

    def __init__(self, root: Path, min_free_bytes: int, owner: str = "spool") -> None:
        """Make the folders; ``owner`` begins the name of this process' folder for arriving objects."""
        configure_reading()
        self._objects = root / "objects"
        self._min_free_bytes = min_free_bytes
        self._objects.mkdir(parents=True, exist_ok=True)
        # All of them now, so that no object waits for its folder to become durable.
        for number in range(256):
            (self._objects / f"{number:02x}").mkdir(exist_ok=True)
        _sync_folder(self._objects)
        self._syncers = ThreadPoolExecutor(_SYNCERS, thread_name_prefix="spool")
        self._folder = IncomingFolder(root / "incoming", owner)
        self.incoming = self._folder.path
        _sync_folder(root)

    def close(self) -> None:
        """Remove this process' folder for arriving objects."""
        self._syncers.shutdown()
        self._folder.close()

    def has_room(self) -> bool:
        """Tell whether the filesystem has more free bytes than it must keep."""
        return free_bytes(self._objects) > self._min_free_bytes

    def open(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, peer: Peer, received_at: float
    ) -> IncomingObject:
        """Begin an object's file on the spool's filesystem.

        Raises
        ------
        OutOfResourcesError
            If there is no room; the sender may try again.
        """
        if not self.has_room():
            raise OutOfResourcesError("the spool is full")
        header = file_meta.encode(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            peer=peer,
            received_at=received_at,
        )
        try:
            return IncomingObject(self.incoming, header)
        except OSError as error:
            raise OutOfResourcesError("the spool can't be written") from error

    def keep(self, received: ReceivedInstance, incoming: IncomingObject | None = None) -> SpooledInstance:
        """Make an object durable: check it, name it by its content, bring it and its folder to the disk.

        ``incoming`` is the object that was written to ``received.path``, with its digest known already;
        without it the file is read once more. Whatever happens, ``received.path`` is gone afterwards.

        Raises
        ------
        CannotUnderstandError
            If the data set can't be parsed or identified.
        SopClassMismatchError
            If its UIDs aren't the ones that the request announced.
        OutOfResourcesError
            If the filesystem has no room or fails.
        """
        try:
            return self._keep(received, incoming)
        except OSError as error:
            raise OutOfResourcesError("the spool can't be written") from error
        finally:
            if incoming is not None:
                incoming.discard()
            else:
                received.path.unlink(missing_ok=True)

    def _keep(self, received: ReceivedInstance, incoming: IncomingObject | None) -> SpooledInstance:
        if incoming is None:
            offset = read_file_meta(received.path)[1]
            digest, size = _digest(received.path, offset)
        else:
            offset, digest, size = incoming.data_set_offset, incoming.content_sha256, incoming.size_bytes
        attributes = read_attributes(
            received.path, data_set_offset=offset, transfer_syntax_uid=received.transfer_syntax_uid
        )
        if attributes.sop_instance_uid != received.sop_instance_uid:
            raise SopClassMismatchError("the data set has another SOP Instance UID than the request")
        if attributes.sop_class_uid != received.sop_class_uid:
            raise SopClassMismatchError("the data set has another SOP Class UID than the request")
        return SpooledInstance(
            attributes=attributes,
            transfer_syntax_uid=received.transfer_syntax_uid,
            content_sha256=digest,
            size_bytes=size,
            path=self._place(received.path, digest),
            peer=received.peer,
            received_at=received.received_at,
        )

    def _place(self, source: Path, digest: str) -> Path:
        """Give the object its name, and bring its bytes and its name to the disk together.

        The two go to the disk at once because then a journal commits once: one after the other took two
        to three times as long. A name whose bytes a power cut took away was never answered with Success;
        ``adopt`` tells it by its digest. A name that exists is never given again: its bytes may be
        durable, and those of ``source`` aren't yet.
        """
        folder = self._objects / digest[:2]
        target = folder / f"{digest}{_SUFFIX}"
        crashpoints.reach("receiver.before-fsync")
        _link(source, target)
        crashpoints.reach("receiver.after-rename")
        synced = self._syncers.submit(_sync_file, target)
        try:
            _sync_folder(folder)
        finally:
            synced.result()
        crashpoints.reach("receiver.after-fsync")
        crashpoints.reach("receiver.after-directory-fsync")
        return target

    def sweep(self) -> int:
        """Remove what receivers that are gone left half-received; return the number of objects."""
        return self._folder.sweep()

    def adopt(
        self, known: Callable[[Sequence[str]], Collection[str]] = lambda _digests: ()
    ) -> Iterator[SpooledInstance]:
        """Yield each object in the spool whose digest nobody knows; damaged ones are set aside.

        ``known`` is given some digests at a time and returns those of them that are on record. An object's
        time of reception, its association and its sender are those that its file says.
        """
        for folder in sorted(self._objects.iterdir()):
            entries = (entry.name.removesuffix(_SUFFIX) for entry in os.scandir(folder) if entry.name.endswith(_SUFFIX))
            while digests := list(itertools.islice(entries, _DIGESTS_AT_ONCE)):
                for digest in sorted(set(digests).difference(known(digests))):
                    if spooled := self._adopt(folder / f"{digest}{_SUFFIX}"):
                        yield spooled

    def _adopt(self, path: Path) -> SpooledInstance | None:
        try:
            meta, offset = read_file_meta(path)
            digest, size = _digest(path, offset)
            if digest != path.stem:
                raise CannotUnderstandError("its content isn't what its name says")
            syntax = str(meta.TransferSyntaxUID)
            attributes = read_attributes(path, data_set_offset=offset, transfer_syntax_uid=syntax)
        except (OSError, AttributeError, CannotUnderstandError) as error:
            _LOGGER.error("object set aside", extra={"file": path.name, "reason": type(error).__name__})
            path.rename(path.with_suffix(".damaged"))
            return None
        peer, received_at = file_meta.sender(meta, otherwise_at=path.stat().st_mtime)
        return SpooledInstance(
            attributes=attributes,
            transfer_syntax_uid=syntax,
            content_sha256=digest,
            size_bytes=size,
            path=path,
            peer=peer,
            received_at=received_at,
        )


def _digest(path: Path, offset: int) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        file.seek(offset)
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A filesystem without hard links: the bytes first, since this may replace a durable object.
        _sync_file(source)
        source.rename(target)


def _sync_folder(folder: Path) -> None:
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync_file(path: Path) -> None:
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
