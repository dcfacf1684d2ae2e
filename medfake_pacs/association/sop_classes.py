"""Which SOP classes are kept, which are accepted and let go, and the presentation contexts for both."""

from collections.abc import Collection, Iterable

from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

VERIFICATION = str(Verification)
_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
# Of objects that aren't kept nothing is decoded, so that video and the like don't fail a sender's job either.
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (100, 101, 102, 103, 104, 105, 106, 107, 108))

# PS3.4 Table B.5-1, what follows the storage root: images of radiology and of nuclear medicine.
_RADIOLOGY = (
    "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1",  # CR, DX, MG, intra-oral
    "2", "2.1", "2.2",  # CT, enhanced, legacy converted
    "3", "3.1", "6", "6.1", "6.2",  # ultrasound, two of them retired
    "4", "4.1", "4.3", "4.4",  # MR
    "7", "7.1", "7.2", "7.3", "7.4",  # secondary capture
    "12.1", "12.1.1", "12.2", "12.2.1", "12.3", "13.1.1", "13.1.2",  # XA, RF, 3D
    "13.1.3", "13.1.4", "13.1.5",  # breast tomosynthesis and projection
    "5", "20", "128", "128.1", "130",  # NM (one retired), PET
    "481.1",  # RT image
)  # fmt: skip
# Photographs: no model is for them, and the report says so rather than leaving them out.
_VISIBLE_LIGHT = ("77.1.1", "77.1.2", "77.1.3", "77.1.4", "77.1.5.1", "77.1.5.2", "77.1.5.4", "77.1.7")
KEPT_SOP_CLASSES = frozenset(_STORAGE_ROOT + suffix for suffix in (*_RADIOLOGY, *_VISIBLE_LIGHT))
REPORT_SOP_CLASSES = frozenset(_STORAGE_ROOT + suffix for suffix in ("88.11", "88.22", "88.33", "88.34", "88.35"))
_OTHER_SOP_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.38.1",  # hanging protocol
        "1.2.840.10008.5.1.4.39.1",  # colour palette
        "1.2.840.10008.5.1.4.34.7",  # RT beams delivery instruction
        "1.2.840.10008.5.1.4.34.10",  # RT brachy application setup
    }
)
# Under the storage root, but not storage: queries of protocols and inventories.
_NOT_STORAGE = tuple(_STORAGE_ROOT + suffix for suffix in ("200.4", "200.5", "200.6", "201.2", "201.3", "201.4",
                                                           "201.5", "201.6"))  # fmt: skip


def is_kept(sop_class_uid: str) -> bool:
    """Tell whether objects of the SOP class are images that get a verdict."""
    return sop_class_uid in KEPT_SOP_CLASSES


def is_other_storage(sop_class_uid: str) -> bool:
    """Tell whether the SOP class is storage of something that gets no verdict, known today or not."""
    if sop_class_uid in KEPT_SOP_CLASSES or sop_class_uid in _NOT_STORAGE:
        return False
    return sop_class_uid.startswith(_STORAGE_ROOT) or sop_class_uid in _OTHER_SOP_CLASSES


def contexts_for(
    proposed: Iterable[str], *, image_syntaxes: Collection[str], accept_others: bool
) -> list[PresentationContext]:
    """Return the presentation contexts that the node supports among the ``proposed`` abstract syntaxes.

    ``image_syntaxes`` are the transfer syntaxes that images are taken in, the preferred one first. Only
    what is proposed is built: all of it would be copied for each association.
    """
    other_syntaxes = tuple(dict.fromkeys((*_UNCOMPRESSED, *image_syntaxes, *_VIDEO)))
    contexts = []
    for uid in proposed:
        if uid == VERIFICATION:
            contexts.append(build_context(uid, list(_UNCOMPRESSED[:3])))
        elif is_kept(uid):
            contexts.append(build_context(uid, list(image_syntaxes)))
        elif accept_others and is_other_storage(uid):
            contexts.append(build_context(uid, list(other_syntaxes)))
    return contexts
