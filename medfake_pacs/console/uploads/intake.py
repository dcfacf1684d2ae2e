"""One upload from its first byte to a check that waits: all of it, or nothing."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import anyio
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from medfake_pacs.config import Settings
from medfake_pacs.console.security.known import Identity
from medfake_pacs.console.services import Services
from medfake_pacs.console.uploads import archives, kinds, quota, recording
from medfake_pacs.console.uploads.kinds import Image
from medfake_pacs.console.uploads.multipart import FormReceiver
from medfake_pacs.console.uploads.refusals import FileRefusedError, LeftOut, UploadRefusedError, refused
from medfake_pacs.console.uploads.storing import Folder, StoredFile, UploadLimits

MAX_FILES = 5000
_PIECE_BYTES = 1 << 20
_SILENCE_S = 60.0
# The receiver takes images down to once spool.min_free_bytes: uploads keep away from there.
_RESERVE_FACTOR = 2


def upload_limits(settings: Settings) -> UploadLimits:
    """Return what an upload may hold by the configuration."""
    return UploadLimits(
        max_bytes=settings.console.max_upload_bytes,
        max_files=MAX_FILES,
        max_pixels=settings.pixels.max_pixels_per_frame,
        reserve_bytes=_RESERVE_FACTOR * settings.spool.min_free_bytes,
        max_checks_bytes=settings.console.max_checks_bytes,
        max_account_checks_bytes=settings.console.max_account_checks_bytes,
    )


async def receive(request: Request, services: Services, identity: Identity) -> str:
    """Take an upload as it streams in and return the id of the check that waits for the worker.

    Raises
    ------
    UploadRefusedError
        If it, or one of its files, isn't taken; nothing of it is left then.
    """
    content_type = request.headers.get("content-type", "")
    announced = request.headers.get("content-length", "")
    upload = _Upload(services, identity, secrets.token_hex(16))
    try:
        await run_in_threadpool(upload.begin, content_type, int(announced) if announced.isdecimal() else 0)
        await _pump(request, upload)
        await run_in_threadpool(upload.finish)
    finally:
        # Also while the request is being cancelled, and never in the event loop: it waits for disk and database.
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(upload.discard_unless_finished)
    return upload.check_id


async def _pump(request: Request, upload: "_Upload") -> None:
    stream = request.stream()
    waiting = bytearray()
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream, None), _SILENCE_S)
        except TimeoutError as error:
            raise UploadRefusedError(
                HTTPStatus.REQUEST_TIMEOUT, f"Nothing came for {_SILENCE_S:.0f} seconds. Upload the files again."
            ) from error
        except ClientDisconnect as error:
            raise UploadRefusedError(HTTPStatus.REQUEST_TIMEOUT, "The browser broke the upload off.") from error
        waiting += piece or b""
        if len(waiting) >= _PIECE_BYTES or piece is None:
            await run_in_threadpool(upload.feed, bytes(waiting))
            waiting.clear()
        if piece is None:
            return


@dataclass(slots=True)
class _Found:
    """What an upload turned out to hold."""

    images: list[Image]
    left_out: list[LeftOut]
    refused: list[LeftOut]


class _Upload:
    """The blocking side of an upload: database and disk."""

    def __init__(self, services: Services, identity: Identity, check_id: str) -> None:
        self.check_id = check_id
        self._services = services
        self._identity = identity
        self._folder = Folder(services.settings.checks_dir / check_id, upload_limits(services.settings))
        self._form: FormReceiver | None = None
        self._begun = self._finished = False

    def begin(self, content_type: str, announced_bytes: int) -> None:
        """Record the check and make its folder."""
        self._form = FormReceiver(content_type, self._folder)
        recording.begin(self._services.engine, self.check_id, self._identity)
        self._begun = True
        self._folder.make()
        self._folder.check_room(announced_bytes)
        self._check_quota(announced_bytes)

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        assert self._form is not None
        self._form.feed(data)

    def finish(self) -> None:
        """Look at what came, and have it wait for the worker."""
        assert self._form is not None
        form = self._form
        form.finish()
        model = form.fields.get("model", "")
        recording.check_model(self._services.settings, model)
        if not form.files:
            raise UploadRefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "Choose at least one file.")
        found = self._look_at(form.files)
        if found.refused:
            raise refused(found.refused)
        if not found.images:
            raise UploadRefusedError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "There is no image in this upload.", found.left_out
            )
        # Others may have been uploading at the same time.
        self._check_quota(0)
        self._folder.sync()
        recording.complete(self._services, self._identity, self.check_id, model, found.images, found.left_out)
        self._finished = True

    def discard_unless_finished(self) -> None:
        """Leave nothing behind of an upload that broke off or was refused."""
        if self._finished or not self._begun:
            return
        if self._form is not None:
            self._form.close()
        self._folder.delete()
        recording.forget(self._services.engine, self.check_id)

    def _check_quota(self, coming_bytes: int) -> None:
        mine = recording.kept_checks(self._services.engine, self._identity)
        quota.check(self._services.settings.checks_dir, mine, coming_bytes, self._folder.limits)

    def _look_at(self, files: Sequence[StoredFile]) -> _Found:
        found = _Found(images=[], left_out=[], refused=[])
        seen: dict[str, str] = {}
        for file in files:
            try:
                if kinds.is_zip(file.path):
                    self._look_into(file, found, seen)
                else:
                    self._take(file, found, seen)
            except FileRefusedError as error:
                found.refused.append(LeftOut(name=file.name, reason=error.reason, status=error.status))
        return found

    def _look_into(self, archive: StoredFile, found: _Found, seen: dict[str, str]) -> None:
        """Unpack an archive: what isn't an image in it is left out; what may be meant to harm refuses all of it."""
        self._folder.uncount(archive)
        for file in archives.unpack(archive, self._folder):
            try:
                self._take(file, found, seen)
            except FileRefusedError as error:
                if error.severe:
                    raise FileRefusedError(f"{file.name}: {error.reason}", error.status) from error
                # It still counts: whatever comes out of an archive does.
                file.path.unlink()
                found.left_out.append(LeftOut(name=file.name, reason=error.reason, status=error.status))
        archive.path.unlink()

    def _take(self, file: StoredFile, found: _Found, seen: dict[str, str]) -> None:
        if file.sha256 in seen and file.size_bytes:
            file.path.unlink()
            found.left_out.append(LeftOut(name=file.name, reason=f"the same file as {seen[file.sha256]}"))
            return
        found.images.append(kinds.examine(file, self._folder.limits))
        seen[file.sha256] = file.name
