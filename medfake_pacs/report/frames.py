"""Which images may be referred to by frame."""

from medfake_pacs.entities import ImageAttributes

_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1."
# CR, DX, MG, intra-oral, CT, MR, US (and retired), SC, VL endoscopic to photographic, PET.
_SINGLE_FRAME = frozenset(
    _IMAGE_STORAGE + suffix
    for suffix in (
        "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "2", "4", "6", "6.1", "7",
        "77.1.1", "77.1.2", "77.1.3", "77.1.4", "128",
    )
)  # fmt: skip


def has_frames(attributes: ImageAttributes) -> bool:
    """Say whether a reference to the image may name frames (PS3.3 C.18.4: not for a single-frame SOP class).

    Some senders put several frames into an object of a single-frame class all the same; a report on it says
    in words which frame it means.
    """
    return attributes.number_of_frames > 1 and attributes.sop_class_uid not in _SINGLE_FRAME
