"""The one table of transfer syntaxes: which decoder each has. Imports nothing, so every process can read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSyntax:
    """How the pixels of one transfer syntax are decoded (PS3.5 A).

    ``family`` says how the codestream is laid out, ``plugin`` is pydicom's decoding plugin and ``distribution`` the
    package whose version the decoder is reported with. ``lossy`` is True, False, or None where it can be either.
    """

    uid: str
    name: str
    family: str
    plugin: str
    distribution: str
    lossy: bool | None = False

    @property
    def encapsulated(self) -> bool:
        """Tell whether Pixel Data is a sequence of fragments (PS3.5 A.4)."""
        return self.family != "native"


def _native(uid: str, name: str) -> TransferSyntax:
    return TransferSyntax(uid=uid, name=name, family="native", plugin="", distribution="pydicom")


def _gdcm(uid: str, name: str, *, lossy: bool) -> TransferSyntax:
    return TransferSyntax(uid=uid, name=name, family="jpeg", plugin="gdcm", distribution="python-gdcm", lossy=lossy)


def _jpeg_ls(uid: str, name: str, *, lossy: bool) -> TransferSyntax:
    return TransferSyntax(uid=uid, name=name, family="jpeg", plugin="pyjpegls", distribution="pyjpegls", lossy=lossy)


def _jpeg_2000(uid: str, name: str, *, lossy: bool | None) -> TransferSyntax:
    return TransferSyntax(
        uid=uid, name=name, family="jpeg2000", plugin="pylibjpeg", distribution="pylibjpeg-openjpeg", lossy=lossy
    )


_TABLE = (
    _native(EXPLICIT_VR_LITTLE_ENDIAN, "Explicit VR Little Endian"),
    _native(IMPLICIT_VR_LITTLE_ENDIAN, "Implicit VR Little Endian"),
    _native(EXPLICIT_VR_BIG_ENDIAN, "Explicit VR Big Endian"),
    _native(DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "Deflated Explicit VR Little Endian"),
    _gdcm("1.2.840.10008.1.2.4.50", "JPEG Baseline (Process 1)", lossy=True),
    _gdcm("1.2.840.10008.1.2.4.51", "JPEG Extended (Process 2 and 4)", lossy=True),
    _gdcm("1.2.840.10008.1.2.4.53", "JPEG Spectral Selection (Process 6 and 8)", lossy=True),
    _gdcm("1.2.840.10008.1.2.4.55", "JPEG Full Progression (Process 10 and 12)", lossy=True),
    _gdcm("1.2.840.10008.1.2.4.57", "JPEG Lossless (Process 14)", lossy=False),
    _gdcm("1.2.840.10008.1.2.4.70", "JPEG Lossless (Process 14, SV1)", lossy=False),
    _jpeg_ls("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless", lossy=False),
    _jpeg_ls("1.2.840.10008.1.2.4.81", "JPEG-LS Near-Lossless", lossy=True),
    _jpeg_2000("1.2.840.10008.1.2.4.90", "JPEG 2000 (Lossless Only)", lossy=False),
    _jpeg_2000("1.2.840.10008.1.2.4.91", "JPEG 2000", lossy=None),
    _jpeg_2000("1.2.840.10008.1.2.4.201", "HTJ2K (Lossless Only)", lossy=False),
    _jpeg_2000("1.2.840.10008.1.2.4.202", "HTJ2K (Lossless RPCL)", lossy=False),
    _jpeg_2000("1.2.840.10008.1.2.4.203", "HTJ2K", lossy=None),
    TransferSyntax(
        uid="1.2.840.10008.1.2.5",
        name="RLE Lossless",
        family="rle",
        plugin="pylibjpeg",
        distribution="pylibjpeg-rle",
    ),
    TransferSyntax(
        uid=DEFLATED_IMAGE_FRAME,
        name="Deflated Image Frame Compression",
        family="deflate",
        plugin="",
        distribution="pydicom",
    ),
)

TRANSFER_SYNTAXES: Mapping[str, TransferSyntax] = MappingProxyType({entry.uid: entry for entry in _TABLE})
SUPPORTED_TRANSFER_SYNTAXES: tuple[str, ...] = tuple(TRANSFER_SYNTAXES)
