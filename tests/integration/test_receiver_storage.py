"""Objects that arrive over real associations, from DCMTK and from pynetdicom, end where they belong."""

import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    MRImageStorage,
)
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from medfake_pacs import __version__
from medfake_pacs.database.tables import associations
from medfake_pacs.report.scheme import SCHEME_DESIGNATOR, SCHEME_UID
from tests.receiver_support import (
    CALLED,
    CALLING,
    DCMTK_ENVIRONMENT,
    Receiver,
    assert_spool_is_sound,
    association,
    audit_rows,
    ct_image,
    instance_rows,
    object_files,
    rows,
    running_receiver,
    save,
    store,
    write_config,
)
from tests.support import need_tool, wait_for

STORESCU = "/usr/bin/storescu"
SUCCESS = 0x0000


@pytest.fixture
def receiver(tmp_path: Path, database_url: str) -> Iterator[Receiver]:
    """A receiver with default rules on each database."""
    with running_receiver(write_config(tmp_path, database_url)) as running:
        yield running


@pytest.fixture(scope="module")
def sqlite_receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """One receiver on SQLite for the tests that only look at answers."""
    with running_receiver(write_config(tmp_path_factory.mktemp("receiver"))) as running:
        yield running


def test_an_object_is_kept_recorded_and_logged(receiver: Receiver) -> None:
    image = ct_image(
        StudyDescription="Thorax", BodyPartExamined="CHEST", AccessionNumber="A1", ImageType=["ORIGINAL", "PRIMARY"],
        ImagePositionPatient=[0, 0, -12.5], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )  # fmt: skip

    assert store(receiver.port, image) == [SUCCESS]

    (row,) = instance_rows(receiver.settings)
    assert (row.sop_instance_uid, row.study_instance_uid) == (image.SOPInstanceUID, image.StudyInstanceUID)
    assert (row.modality, row.body_part, row.study_description) == ("CT", "CHEST", "Thorax")
    assert (row.patient_id, row.accession_number, row.image_type) == ("P1", "A1", "ORIGINAL\\PRIMARY")
    assert (row.slice_position_mm, row.instance_number, row.lossy) == (-12.5, 1, False)
    assert (row.calling_ae_title, row.called_ae_title, row.host) == (CALLING, CALLED, "127.0.0.1")
    assert_spool_is_sound(receiver.settings)
    (event,) = audit_rows(receiver.settings, "instance-received")
    assert event["sop_instance_uid"] == image.SOPInstanceUID
    assert event["payload"]["content_sha256"] == row.content_sha256
    kept = pydicom.dcmread(receiver.settings.spool_dir / row.path)
    assert kept.PatientName == "Doe^Jane"
    assert kept.file_meta.SendingApplicationEntityTitle == CALLING


def test_an_association_leaves_one_row_with_its_ending(receiver: Receiver) -> None:
    store(receiver.port, ct_image(), ct_image())
    with association(receiver.port) as assoc:
        assoc.send_c_store(ct_image())
        assoc.abort()
    query = sa.select(associations).order_by(associations.c.opened_at)
    wait_for(lambda: all(row.closed_at for row in rows(receiver.settings, query)), 10, "both to be closed")
    released, aborted = rows(receiver.settings, query)
    assert (released.ending, released.objects_kept) == ("released", 2)
    assert (aborted.ending, aborted.objects_kept) == ("aborted", 1)
    assert {row.association_id for row in instance_rows(receiver.settings)} == {
        released.association_id,
        aborted.association_id,
    }


def test_the_same_object_again_is_success_and_no_second_row(receiver: Receiver) -> None:
    image = ct_image()

    assert store(receiver.port, image, image) == [SUCCESS, SUCCESS]
    assert store(receiver.port, image) == [SUCCESS]

    assert len(instance_rows(receiver.settings)) == len(object_files(receiver.settings)) == 1
    assert len(audit_rows(receiver.settings, "instance-received")) == 1
    assert len(audit_rows(receiver.settings, "instance-duplicate")) == 2


def test_the_same_uid_with_one_other_pixel_is_kept_beside_the_first(receiver: Receiver) -> None:
    image = ct_image()
    changed = ct_image(sop_instance_uid=image.SOPInstanceUID, study=image.StudyInstanceUID)
    changed.PixelData = b"\x01" + image.PixelData[1:]

    assert store(receiver.port, image, changed) == [SUCCESS, SUCCESS]

    first, second = instance_rows(receiver.settings)
    assert (first.conflict_of, second.conflict_of) == (None, first.instance_id)
    assert_spool_is_sound(receiver.settings)
    (event,) = audit_rows(receiver.settings, "instance-conflict")
    assert event["payload"]["conflict_of"] == first.instance_id


def test_several_associations_at_once_lose_and_double_nothing(receiver: Receiver, tmp_path: Path) -> None:
    shared = [ct_image() for _ in range(3)]
    folders = []
    for sender in range(4):
        folder = tmp_path / f"sender{sender}"
        for number, image in enumerate([*shared, *(ct_image() for _ in range(7))]):
            save(image, folder / f"{number}.dcm")
        folders.append(folder)
    command = [need_tool(STORESCU), "-aet", CALLING, "-aec", CALLED, "+sd", "127.0.0.1", str(receiver.port)]
    senders = [subprocess.Popen([*command, str(folder)], env=DCMTK_ENVIRONMENT) for folder in folders]
    assert [sender.wait(120) for sender in senders] == [0] * 4

    assert len({row.sop_instance_uid for row in instance_rows(receiver.settings)}) == 3 + 4 * 7
    assert len(instance_rows(receiver.settings)) == 3 + 4 * 7
    assert_spool_is_sound(receiver.settings)


def test_other_objects_are_accepted_counted_and_not_kept(receiver: Receiver) -> None:
    others = [ct_image(SOPClassUID=uid) for uid in (GrayscaleSoftcopyPresentationStateStorage, EncapsulatedPDFStorage)]
    later = ct_image(SOPClassUID=EncapsulatedPDFStorage)

    assert store(receiver.port, others[0], ct_image(), others[1], later) == [SUCCESS] * 4

    wait_for(lambda: len(audit_rows(receiver.settings, "object-not-kept")) == 2, 10, "two rows")
    counts = {
        event["payload"]["sop_class_uid"]: event["payload"]["count"]
        for event in audit_rows(receiver.settings, "object-not-kept")
    }
    assert counts == {GrayscaleSoftcopyPresentationStateStorage: 1, EncapsulatedPDFStorage: 2}
    assert len(instance_rows(receiver.settings)) == len(object_files(receiver.settings)) == 1
    (row,) = rows(receiver.settings, sa.select(associations))
    assert (row.objects_kept, row.objects_not_kept) == (1, 3)


def test_other_objects_are_refused_where_the_configuration_says_so(tmp_path: Path) -> None:
    config = write_config(tmp_path, association="accept_other_objects = false")
    classes = (CTImageStorage, EncapsulatedPDFStorage)
    with running_receiver(config) as receiver, association(receiver.port, sop_classes=classes) as assoc:
        assert [str(item.abstract_syntax) for item in assoc.accepted_contexts] == [CTImageStorage]
        (rejected,) = assoc.rejected_contexts
        assert rejected.result == 3  # abstract syntax not supported, PS3.8 Table 9-18


def test_our_own_report_is_recognised_and_dropped(sqlite_receiver: Receiver) -> None:
    report = ct_image(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.34", Modality="SR")
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeUID = SCHEME_DESIGNATOR, SCHEME_UID
    report.CodingSchemeIdentificationSequence = [scheme]
    foreign = ct_image(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.34", Modality="SR")

    assert store(sqlite_receiver.port, report, foreign) == [SUCCESS, SUCCESS]

    def counts() -> list[tuple[bool, int]]:
        events = audit_rows(sqlite_receiver.settings, "object-not-kept")
        return sorted((event["payload"]["own_report"], event["payload"]["count"]) for event in events)

    wait_for(lambda: counts() == [(False, 1), (True, 1)], 10, "one row each")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"StudyInstanceUID": None}, 0xC000),
        ({"SeriesInstanceUID": None}, 0xC000),
        ({"SOPInstanceUID": None}, 0xC000),
        ({"StudyInstanceUID": "../../etc/passwd"}, 0xC000),
        ({"SeriesInstanceUID": "1." * 33 + "1"}, 0xC000),
        ({"SOPInstanceUID": "1.2.3.4.5"}, 0xA900),
        ({"SOPClassUID": MRImageStorage}, 0xA900),
    ],
)
def test_a_data_set_that_is_not_what_was_announced_is_refused(
    sqlite_receiver: Receiver, change: dict[str, str | None], status: int
) -> None:
    known = len(object_files(sqlite_receiver.settings))
    with association(sqlite_receiver.port) as assoc:
        (answer,) = _send_raw(assoc, ct_image(), change)
    assert answer.Status == status
    assert answer.ErrorComment
    assert len(object_files(sqlite_receiver.settings)) == known


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "1.2.x", "1." * 40 + "1", "-1.2"])
def test_a_malformed_affected_sop_instance_uid_is_refused(sqlite_receiver: Receiver, uid: str) -> None:
    image = ct_image()
    with association(sqlite_receiver.port) as assoc:
        (answer,) = _send_raw(assoc, image, {"SOPInstanceUID": uid}, announced=uid)
    assert answer.Status == 0xC000


def test_a_sop_class_other_than_its_presentation_contexts_is_refused(sqlite_receiver: Receiver) -> None:
    with association(sqlite_receiver.port) as assoc:
        (answer,) = _send_raw(assoc, ct_image(SOPClassUID=ComputedRadiographyImageStorage), {})
    assert answer.Status == 0xA900


def test_bytes_that_are_no_data_set_are_refused(sqlite_receiver: Receiver) -> None:
    with association(sqlite_receiver.port) as assoc:
        for content in (b"\x00", b"\xff" * 3000, bytes(range(256)) * 8):
            (answer,) = _send_raw(assoc, ct_image(), {}, content=content)
            assert answer.Status == 0xC000


def test_the_association_goes_on_after_a_refusal(sqlite_receiver: Receiver) -> None:
    with association(sqlite_receiver.port) as assoc:
        (refused,) = _send_raw(assoc, ct_image(), {}, content=b"\xff" * 100)
        assert refused.Status == 0xC000
        assert assoc.send_c_store(ct_image()).Status == SUCCESS


def test_nothing_of_the_patient_reaches_the_log(sqlite_receiver: Receiver) -> None:
    image = ct_image(PatientName="Geheim^Petra", PatientID="SECRET-ID" * 10, StudyDescription="Geheim" * 50)
    assert store(sqlite_receiver.port, image) == [SUCCESS]
    with association(sqlite_receiver.port) as assoc:
        _send_raw(assoc, ct_image(PatientName="Geheim^Petra"), {"StudyInstanceUID": "Geheim"})
    text = sqlite_receiver.log.read_text()
    assert "Geheim" not in text
    assert "SECRET-ID" not in text


def test_text_comes_out_in_the_objects_character_set(sqlite_receiver: Receiver) -> None:
    image = ct_image(SpecificCharacterSet="ISO_IR 100", StudyDescription="Schädel", PatientID="Ä\x00B")
    assert store(sqlite_receiver.port, image) == [SUCCESS]
    (row,) = [row for row in instance_rows(sqlite_receiver.settings) if row.sop_instance_uid == image.SOPInstanceUID]
    assert (row.study_description, row.patient_id) == ("Schädel", "ÄB")


def test_two_spellings_of_a_uid_are_one(sqlite_receiver: Receiver) -> None:
    image = ct_image()
    with association(sqlite_receiver.port) as assoc:
        (answer,) = _send_raw(assoc, image, {"StudyInstanceUID": f"{image.StudyInstanceUID} "})
    assert answer.Status == SUCCESS
    (row,) = [row for row in instance_rows(sqlite_receiver.settings) if row.sop_instance_uid == image.SOPInstanceUID]
    assert row.study_instance_uid == image.StudyInstanceUID


def test_the_implementation_names_itself(sqlite_receiver: Receiver) -> None:
    with association(sqlite_receiver.port) as assoc:
        assert assoc.acceptor.implementation_version_name == f"MEDFAKE_{__version__}"


def _send_raw(
    assoc: Any, image: Dataset, change: dict[str, str | None], announced: str = "", content: bytes | None = None
) -> list[Dataset]:  # fmt: skip
    """Send a C-STORE whose request and data set needn't agree; return the response's command set."""
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = image.SOPClassUID
    request.AffectedSOPInstanceUID = image.SOPInstanceUID
    request.Priority = 2
    for keyword, value in change.items():
        if value is None:
            del image[keyword]
        else:
            setattr(image, keyword, value)
    del image.file_meta
    request.DataSet = BytesIO(encode(image, False, True) if content is None else content)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    if announced:
        message.command_set.AffectedSOPInstanceUID = announced
    assoc._reactor_checkpoint.clear()
    wait_for(lambda: assoc._is_paused, 5, "the SCU's reactor to pause")
    for primitive in message.encode_msg(assoc.accepted_contexts[0].context_id, 16_000):
        assoc.dul.send_pdu(primitive)
    _, answer = assoc.dimse.get_msg(block=True)
    assoc._reactor_checkpoint.set()
    return [answer]
