"""What DCMTK and a folder of odd files send through the whole node."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, generate_uid

from tests import material
from tests.integration.conftest import ROUTES
from tests.node import NodeProcess
from tests.support import need_data, need_tool

MakeNode = Callable[..., NodeProcess]
STORESCU = "/usr/bin/storescu"
# Of some 360 files; the others are no Part 10 files, no images, or of a transfer syntax that storescu lacks.
MINIMUM_TAKEN = 150
ROUTES_TO_NOBODY = ROUTES.replace('send_to = ["pacs"]\n', "")
# Proposal option of storescu, and the command that makes such a file of an uncompressed one.
SYNTAXES = {
    "little": ("--propose-little", ["/usr/bin/dcmconv", "+te"]),
    "implicit": ("--propose-implicit", ["/usr/bin/dcmconv", "+ti"]),
    "big": ("--propose-big", ["/usr/bin/dcmconv", "+tb"]),
    "deflated": ("--propose-deflated", ["/usr/bin/dcmconv", "+td"]),
    "rle": ("--propose-rle", ["/usr/bin/dcmcrle"]),
    "jpeg lossless": ("--propose-lossless", ["/usr/bin/dcmcjpeg", "+e1"]),
    "JPEG-LS lossless": ("--propose-jls-lossless", ["/usr/bin/dcmcjpls", "+el"]),
    "JPEG 2000 lossless": ("--propose-j2k-lossless", []),
}


def _environment() -> dict[str, str]:
    return {**os.environ, "TCP_NODELAY": "1"}


@pytest.fixture
def transcoded(tmp_path: Path) -> dict[str, Path]:
    """Return one real CT slice in each transfer syntax, each with a SOP Instance UID of its own."""
    (original,) = material.ct_series(1, source=material.CT_512)
    paths = {}
    for number, (name, (_, command)) in enumerate(SYNTAXES.items()):
        original.SOPInstanceUID = original.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        (plain,) = material.save([original], tmp_path / f"plain{number}")
        paths[name] = tmp_path / f"{number}.dcm"
        if not command:
            compressed = dcmread(plain)
            compressed.compress(JPEG2000Lossless, generate_instance_uid=False)
            compressed.save_as(paths[name])
            continue
        need_tool(command[0])
        subprocess.run([*command, str(plain), str(paths[name])], check=True, env=_environment(), capture_output=True)
    return paths


def test_storescu_sends_in_eight_transfer_syntaxes_and_equal_pixels_are_scored_once(
    make_node: MakeNode, transcoded: dict[str, Path]
) -> None:
    node = make_node(routes=ROUTES_TO_NOBODY).start()
    for name, path in transcoded.items():
        option = SYNTAXES[name][0]
        target = ["-aet", "PACS1", "-aec", node.ae_title, "127.0.0.1", str(node.port)]
        subprocess.run([need_tool(STORESCU), option, *target, str(path)], check=True, env=_environment())
    node.wait_idle(len(transcoded))
    rows = node.rows("instances")
    assert [row.not_assessed_reason for row in rows] == [None] * len(rows)
    assert {row.transfer_syntax_uid for row in rows} == {
        str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID) for path in transcoded.values()
    }
    assert len({row.pixel_sha256 for row in rows}) == 1
    assert len(node.rows("scores")) == 1
    assert not any(row.lossy for row in rows)


def test_a_folder_of_odd_files_ends_in_verdicts_or_named_reasons_and_hurts_no_process(
    tmp_path: Path, model_cache: Path
) -> None:
    folder = need_data("dicom_conformance")
    node = NodeProcess(tmp_path / "node", routes="[[routes]]\nname = 'all'\nmodel = 'lung-ct'\n", cache=model_cache)
    with node.start():
        target = ["-aet", "PACS1", "-aec", node.ae_title, "127.0.0.1", str(node.port)]
        sent = subprocess.run(
            [need_tool(STORESCU), "-v", "--no-halt", "--required", "+sd", "+r", *target, str(folder)],
            check=False, env=_environment(), capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        taken = (sent.stdout + sent.stderr).count("Received Store Response (Success)")
        assert taken > MINIMUM_TAKEN, sent.stderr[-3000:]
        node.wait_idle(1, timeout_s=600)
        rows = node.rows("instances")
        scored = {(row.pixel_sha256, row.model_sha256) for row in node.rows("scores")}
        for row in rows:
            has_score = (row.pixel_sha256, row.model_sha256) in scored
            assert has_score != bool(row.not_assessed_reason), row.path
            assert "internal error" not in (row.not_assessed_reason or "")
        assert len(rows) > MINIMUM_TAKEN // 2
        assert len(node.rows("verdicts", scope="study")) >= len({row.study_instance_uid for row in rows})
        assert not [line for line in node.log_lines() if line["event"] == "a process died"]
        assert all(peak < 2 * 2**30 for peak in node.peak_memory_bytes())
        assert node.stop() == 0
