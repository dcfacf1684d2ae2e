"""DCMTK sends in one transfer syntax after the other; what is kept is what was sent."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from tests.receiver_support import (
    CALLED,
    CALLING,
    DCMTK_ENVIRONMENT,
    Receiver,
    ct_image,
    data_set_bytes,
    instance_rows,
    running_receiver,
    save,
    write_config,
)
from tests.support import need_tool

STORESCU = "/usr/bin/storescu"
ECHOSCU = "/usr/bin/echoscu"


@pytest.fixture(scope="module")
def sqlite_receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """One receiver for all: only its answers and its spool are looked at."""
    with running_receiver(write_config(tmp_path_factory.mktemp("receiver"))) as running:
        yield running


def _storescu(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [need_tool(STORESCU), "-v", "-aet", CALLING, "-aec", CALLED, "127.0.0.1", str(port), *arguments]
    return subprocess.run(command, env=DCMTK_ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)


def _plain_ct(folder: Path) -> Path:
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = generate_uid(None)
    source.remove_private_tags()
    if "DataSetTrailingPadding" in source:
        del source.DataSetTrailingPadding
    return save(source, folder / "plain.dcm")


# DCMTK's tools make each file from the same slice, storescu proposes its transfer syntax.
_ENCODERS = {
    "1.2.840.10008.1.2": (["/usr/bin/dcmconv", "+ti"], "--propose-implicit"),
    "1.2.840.10008.1.2.1": (["/usr/bin/dcmconv", "+te"], "--propose-little"),
    "1.2.840.10008.1.2.2": (["/usr/bin/dcmconv", "+tb"], "--propose-big"),
    "1.2.840.10008.1.2.1.99": (["/usr/bin/dcmconv", "+td"], "--propose-deflated"),
    "1.2.840.10008.1.2.5": (["/usr/bin/dcmcrle"], "--propose-rle"),
    "1.2.840.10008.1.2.4.70": (["/usr/bin/dcmcjpeg", "+e1"], "--propose-lossless"),
    "1.2.840.10008.1.2.4.51": (["/usr/bin/dcmcjpeg", "+ee"], "--propose-jpeg12"),
    "1.2.840.10008.1.2.4.80": (["/usr/bin/dcmcjpls", "+el"], "--propose-jls-lossless"),
}


@pytest.mark.parametrize("syntax", sorted(_ENCODERS))
def test_dcmtk_sends_in_each_transfer_syntax(sqlite_receiver: Receiver, tmp_path: Path, syntax: str) -> None:
    (encoder, *options), proposal = _ENCODERS[syntax]
    encoded = tmp_path / "encoded.dcm"
    subprocess.run([need_tool(encoder), *options, str(_plain_ct(tmp_path)), str(encoded)], check=True, timeout=60)
    sent = pydicom.dcmread(encoded)
    assert sent.file_meta.TransferSyntaxUID == syntax

    result = _storescu(sqlite_receiver.port, proposal, "--required", str(encoded))

    assert result.returncode == 0, result.stderr
    (row,) = [row for row in instance_rows(sqlite_receiver.settings) if row.sop_instance_uid == sent.SOPInstanceUID]
    kept = pydicom.dcmread(sqlite_receiver.settings.spool_dir / row.path)
    assert row.transfer_syntax_uid == kept.file_meta.TransferSyntaxUID == syntax
    assert kept.PixelData == sent.PixelData
    assert row.lossy == (syntax == "1.2.840.10008.1.2.4.51")


def test_verification(sqlite_receiver: Receiver) -> None:
    command = [need_tool(ECHOSCU), "-aet", CALLING, "-aec", CALLED, "127.0.0.1", str(sqlite_receiver.port)]
    assert subprocess.run(command, env=DCMTK_ENVIRONMENT, timeout=30, check=False).returncode == 0


def test_the_kept_bytes_are_those_that_were_sent(sqlite_receiver: Receiver, tmp_path: Path) -> None:
    path = save(ct_image(rows=300), tmp_path / "image.dcm")
    assert _storescu(sqlite_receiver.port, "--propose-little", str(path)).returncode == 0
    sent = pydicom.dcmread(path)
    (row,) = [row for row in instance_rows(sqlite_receiver.settings) if row.sop_instance_uid == sent.SOPInstanceUID]
    assert data_set_bytes(sqlite_receiver.settings.spool_dir / row.path) == data_set_bytes(path)
