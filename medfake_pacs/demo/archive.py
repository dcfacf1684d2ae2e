"""The PACS's receiving side: a Storage SCP that keeps the reports that come."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pynetdicom import AE, evt

from medfake_pacs.demo.sender import AE_TITLE

_VERIFICATION = "1.2.840.10008.1.1"
_COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
_COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
_UNKNOWN_STUDY = 0xA900


class Archive:
    """Keeps each received report under ``folder``, named after the case whose study it belongs to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}
        self._reports: dict[str, Path] = {}
        self._lock = threading.Lock()

    @property
    def reports(self) -> dict[str, Path]:
        """The newest report of each study, by Study Instance UID."""
        with self._lock:
            return dict(self._reports)

    def expect(self, study_instance_uid: str, name: str) -> None:
        """Take reports on this study, and keep them under ``name``."""
        with self._lock:
            self._names[study_instance_uid] = name

    def store(self, event: evt.Event) -> int:
        """Handle one C-STORE request: write the report, answer Success."""
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        study = str(dataset.StudyInstanceUID)
        with self._lock:
            name = self._names.get(study)
        if name is None:
            return _UNKNOWN_STUDY
        path = self._folder / f"{name}.sr.dcm"
        dataset.save_as(path, enforce_file_format=True)
        with self._lock:
            self._reports[study] = path
        return 0x0000


@contextmanager
def running_archive(port: int, folder: Path) -> Iterator[Archive]:
    """Run a Storage SCP on loopback until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = Archive(folder)
    entity = AE(ae_title=AE_TITLE)
    for sop_class in (_VERIFICATION, _COMPREHENSIVE_SR, _COMPREHENSIVE_3D_SR):
        entity.add_supported_context(sop_class)
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, archive.store)])
    try:
        yield archive
    finally:
        server.shutdown()
