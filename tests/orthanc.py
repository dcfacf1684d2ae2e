"""A real Orthanc as the peer of a test: its own folder, free ports on loopback, REST helpers."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.support import free_port, need_tool, wait_for

ORTHANC_EXECUTABLE = "/usr/sbin/Orthanc"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_REST_TIMEOUT_S = 60.0


class OrthancPeer:
    """One Orthanc process; it may be stopped and started again on the same ports, with what it stored.

    ``modalities`` maps an Orthanc modality name to (AE title, host, port), so that it can send to the node.
    ``configuration`` overrides keys of Orthanc's own configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ae_title: str = "ORTHANC",
        dicom_port: int | None = None,
        http_port: int | None = None,
        modalities: Mapping[str, tuple[str, str, int]] | None = None,
        configuration: Mapping[str, Any] | None = None,
    ) -> None:
        self.ae_title = ae_title
        self.dicom_port = dicom_port or free_port()
        self.http_port = http_port or free_port()
        self._folder = folder
        self._modalities = dict(modalities or {})
        self._configuration = dict(configuration or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @property
    def url(self) -> str:
        """Where the REST API is, without a slash at the end."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def log_path(self) -> Path:
        """What the process has printed so far."""
        return self._folder / "orthanc.log"

    def start(self) -> "OrthancPeer":
        """Start the process and wait until REST and DICOM answer."""
        executable = need_tool(ORTHANC_EXECUTABLE)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "orthanc.json"
        path.write_text(json.dumps(self._full_configuration(), indent=1))
        self._log = self.log_path.open("ab")
        self._process = subprocess.Popen(
            [executable, str(path)], stdout=self._log, stderr=subprocess.STDOUT, cwd=self._folder,
            env=os.environ | {"TCP_NODELAY": "1"},
        )  # fmt: skip
        wait_for(self._answers, _START_TIMEOUT_S, f"Orthanc on port {self.http_port}")
        return self

    def stop(self) -> None:
        """End the process and wait for it; what it stored stays."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_TIMEOUT_S)
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def request(self, path: str, body: bytes | str | Mapping[str, Any] | None = None, method: str = "") -> bytes:
        """Return the answer to one REST call: GET without ``body``, POST with one, unless ``method`` says else."""
        data = json.dumps(body).encode() if isinstance(body, Mapping) else body
        data = data.encode() if isinstance(data, str) else data
        request = urllib.request.Request(
            self.url + path, data=data, method=method or ("GET" if data is None else "POST")
        )
        with self._opener.open(request, timeout=_REST_TIMEOUT_S) as answer:
            return bytes(answer.read())

    def get(self, path: str) -> Any:
        """Return the JSON at ``path``."""
        return json.loads(self.request(path))

    def instances(self) -> list[str]:
        """Return the Orthanc identifiers of every instance held."""
        return list(self.get("/instances"))

    def sop_instance_uids(self) -> list[str]:
        """Return the SOP Instance UIDs of every instance held, in order."""
        return sorted(item["MainDicomTags"]["SOPInstanceUID"] for item in self.get("/instances?expand"))

    def studies(self) -> list[dict[str, Any]]:
        """Return Orthanc's description of every study held."""
        return list(self.get("/studies?expand"))

    def series_of(self, study_instance_uid: str, modality: str = "") -> list[dict[str, Any]]:
        """Return the series of a study, those of one Modality only if it is given."""
        found = [
            study["ID"] for study in self.studies() if study["MainDicomTags"]["StudyInstanceUID"] == study_instance_uid
        ]
        series = [item for identifier in found for item in self.get(f"/studies/{identifier}/series")]
        return [item for item in series if modality in ("", item["MainDicomTags"].get("Modality"))]

    def reports_of(self, study_instance_uid: str) -> list[bytes]:
        """Return the SR instances of a study as Part 10 files."""
        series = self.series_of(study_instance_uid, "SR")
        return [self.file(identifier) for item in series for identifier in item["Instances"]]

    def file(self, instance: str) -> bytes:
        """Return one instance, named by its Orthanc identifier, as a Part 10 file."""
        return self.request(f"/instances/{instance}/file")

    def upload(self, path: Path) -> str:
        """Store a Part 10 file by REST; return its Orthanc identifier."""
        return str(json.loads(self.request("/instances", path.read_bytes()))["ID"])

    def store_to(self, modality: str, resources: list[str]) -> dict[str, Any]:
        """Have Orthanc send resources (instances, series or studies by identifier) to a modality; wait for the end.

        Returns Orthanc's account, with ``InstancesCount`` and ``FailedInstancesCount``.
        """
        body = {"Resources": resources, "Synchronous": True}
        return dict(json.loads(self.request(f"/modalities/{modality}/store", body)))

    def delete_all(self) -> None:
        """Forget every patient."""
        for patient in self.get("/patients"):
            self.request(f"/patients/{patient}", method="DELETE")

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"Orthanc ended with {self._process.returncode}: {self.log_path.read_text()[-2000:]}")
        try:
            return bool(self.get("/system"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def _full_configuration(self) -> dict[str, Any]:
        modalities = {name: list(value) for name, value in self._modalities.items()}
        return {
            "Name": self.ae_title,
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "Plugins": [],
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": True,
            "DicomServerEnabled": True,
            "HttpPort": self.http_port,
            "HttpDescribeErrors": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": True,
            "DicomModalities": modalities,
            "StableAge": 1,
        } | self._configuration


@contextmanager
def running_orthanc(folder: Path, **options: Any) -> Iterator[OrthancPeer]:
    """Yield a started ``OrthancPeer``; end it afterwards."""
    peer = OrthancPeer(folder, **options)
    try:
        yield peer.start()
    finally:
        peer.stop()
