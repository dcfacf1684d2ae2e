"""Make received objects durable, name them by their content, and find them again after a crash."""

import itertools
import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from medfake_pacs.entities import Peer, ReceivedInstance, SpooledInstance
from medfake_pacs.errors import CannotUnderstandError, OutOfResourcesError, SopClassMismatchError
from medfake_pacs.spool import file_meta, placing
from medfake_pacs.spool.content import digest_of
from medfake_pacs.spool.header import configure_reading, read_attributes, read_file_meta
from medfake_pacs.spool.incoming import IncomingFolder, IncomingObject, free_bytes

_LOGGER = logging.getLogger(__name__)
_SUFFIX = ".dcm"
_DIGESTS_AT_ONCE = 500
_SYNCERS = 32


class Spool:
    """The folder that keeps received objects: ``incoming/`` while they arrive, ``objects/`` for good.

    An object's path comes from the SHA-256 of its transfer syntax and its data set: nothing that a peer
    sends names a file.
    The methods may be called from several threads, and from several processes on one folder.
    """

    def __init__(self, root: Path, min_free_bytes: int, owner: str = "spool") -> None:
        """Make the folders; ``owner`` begins the name of this process' folder for arriving objects."""
        configure_reading()
        self._root = root
        self._objects = root / "objects"
        self._min_free_bytes = min_free_bytes
        self._objects.mkdir(parents=True, exist_ok=True)
        # All of them now, so that no object waits for its folder to become durable.
        for number in range(256):
            (self._objects / f"{number:02x}").mkdir(exist_ok=True)
        placing.sync_folder(self._objects)
        self._syncers = ThreadPoolExecutor(_SYNCERS, thread_name_prefix="spool")
        self._folder = IncomingFolder(root / "incoming", owner)
        self.incoming = self._folder.path
        placing.sync_folder(root)

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
            return IncomingObject(self.incoming, header, transfer_syntax_uid)
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
            digest, size = digest_of(
                received.path, data_set_offset=offset, transfer_syntax_uid=received.transfer_syntax_uid
            )
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
        target = self._objects / digest[:2] / f"{digest}{_SUFFIX}"
        placing.place(source, target, root=self._root, syncers=self._syncers)
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
            state = path.stat()
            return _examined(path)
        except (AttributeError, CannotUnderstandError) as error:
            _LOGGER.error("object set aside", extra={"file": path.name, "reason": type(error).__name__})
            # Another receiver may just have put a sound copy there, or set it aside as well.
            placing.remove_if_same(path, state, root=self._root, keep_as=path.with_suffix(".damaged"))
        except OSError as error:
            # The disk's fault or a want of descriptors says nothing of the object: another start finds it.
            _LOGGER.error("object not adopted", extra={"file": path.name, "reason": type(error).__name__})
        return None


def _examined(path: Path) -> SpooledInstance:
    """Return what is at ``path``, which is on the disk then and is what its name says."""
    meta, offset = read_file_meta(path)
    syntax = str(meta.TransferSyntaxUID)
    digest, size = digest_of(path, data_set_offset=offset, transfer_syntax_uid=syntax)
    if digest != path.stem:
        raise CannotUnderstandError("its content isn't what its name says")
    attributes = read_attributes(path, data_set_offset=offset, transfer_syntax_uid=syntax)
    # Whoever put it there may have died before it could.
    placing.sync_file(path)
    placing.sync_folder(path.parent)
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
