"""Which SOP classes are supported, in which transfer syntaxes, and how P-DATA is taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.sop_class import _STORAGE_CLASSES

from medfake_pacs.association.sop_classes import KEPT_SOP_CLASSES, VERIFICATION, contexts_for, is_kept, is_other_storage
from medfake_pacs.association.transport import DataTransfer, MalformedPduError
from medfake_pacs.pixels.syntaxes import SUPPORTED_TRANSFER_SYNTAXES

ROOT = "1.2.840.10008.5.1.4.1.1."


def _contexts(*uids: str, accept_others: bool = True) -> dict[str, list[str]]:
    contexts = contexts_for(uids, image_syntaxes=SUPPORTED_TRANSFER_SYNTAXES, accept_others=accept_others)
    return {str(item.abstract_syntax): [str(uid) for uid in item.transfer_syntax] for item in contexts}


def test_images_are_taken_in_every_syntax_that_is_decoded() -> None:
    assert _contexts(ROOT + "2") == {ROOT + "2": list(SUPPORTED_TRANSFER_SYNTAXES)}


def test_every_storage_class_is_either_kept_or_let_go() -> None:
    for uid in _STORAGE_CLASSES.values():
        assert is_kept(uid) != is_other_storage(uid)
    for name in ("CTImageStorage", "EnhancedCTImageStorage", "XRayRadiofluoroscopicImageStorage", "MRImageStorage",
                 "DigitalMammographyXRayImageStorageForPresentation", "SecondaryCaptureImageStorage",
                 "MultiFrameTrueColorSecondaryCaptureImageStorage", "UltrasoundImageStorage"):  # fmt: skip
        assert is_kept(_STORAGE_CLASSES[name])
    for name in ("Comprehensive3DSRStorage", "KeyObjectSelectionDocumentStorage", "SegmentationStorage",
                 "EncapsulatedPDFStorage", "RTStructureSetStorage", "XRayRadiationDoseSRStorage"):  # fmt: skip
        assert is_other_storage(_STORAGE_CLASSES[name])


def test_a_storage_class_of_tomorrow_is_let_go() -> None:
    assert list(_contexts(ROOT + "999.1")) == [ROOT + "999.1"]
    assert _contexts(ROOT + "999.1", accept_others=False) == {}


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.31", ROOT + "201.6", "1.2.3", ""])
def test_what_is_no_storage_is_not_supported(uid: str) -> None:
    assert _contexts(uid) == {}


def test_verification_is_supported_whatever_else_is() -> None:
    assert list(_contexts(VERIFICATION, accept_others=False)) == [VERIFICATION]
    assert len(_contexts(VERIFICATION, *KEPT_SOP_CLASSES)) == len(KEPT_SOP_CLASSES) + 1


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(min_size=1, max_size=50)), max_size=5))
def test_values_come_out_as_they_went_in(values: list[tuple[int, bytes]]) -> None:
    body = b"".join((len(data) + 1).to_bytes(4, "big") + bytes([context]) + data for context, data in values)
    pdu = b"\x04\x00" + len(body).to_bytes(4, "big") + body
    taken = DataTransfer(memoryview(pdu)).presentation_data_value_list
    assert [(context, bytes(data)) for context, data in taken] == values


@given(st.binary(max_size=60))
def test_any_bytes_are_values_or_malformed(body: bytes) -> None:
    try:
        values = DataTransfer(memoryview(b"\x04\x00" + len(body).to_bytes(4, "big") + body))
    except MalformedPduError:
        return
    assert sum(len(data) + 5 for _, data in values.presentation_data_value_list) == len(body)
