"""What an image's header says of its pixels, checked before a byte of them is touched (PS3.3 C.7.6.3)."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version

from pydicom.dataset import Dataset

from medfake_pacs.entities import ImageInfo
from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.library import library_call, shown
from medfake_pacs.pixels.limits import PixelLimits
from medfake_pacs.pixels.source import UNDEFINED_LENGTH, Source
from medfake_pacs.pixels.syntaxes import TRANSFER_SYNTAXES, TransferSyntax

_PHOTOMETRIC = (
    "MONOCHROME1",
    "MONOCHROME2",
    "PALETTE COLOR",
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_PARTIAL_420",
    "YBR_PARTIAL_422",
    "YBR_RCT",
)
_BITS_ALLOCATED = {"PixelData": (1, 8, 16, 32), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelModule:
    """The Image Pixel module's values, in range and consistent with each other (PS3.3 C.7.6.3.1)."""

    rows: int
    columns: int
    number_of_frames: int
    samples_per_pixel: int
    planar_configuration: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    floating: bool

    @property
    def pixels_per_frame(self) -> int:
        """Return Rows x Columns."""
        return self.rows * self.columns

    @property
    def bits_per_frame(self) -> int:
        """Return the size of one frame's stored values when uncompressed, in bits, as PS3.5 8.1.1 packs them."""
        bits = self.pixels_per_frame * self.samples_per_pixel * self.bits_allocated
        return bits // 3 * 2 if self.subsampled else bits

    @property
    def subsampled(self) -> bool:
        """Tell whether two pixels share their chrominance (PS3.3 C.7.6.3.1.2)."""
        return self.photometric_interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422")


def supported_syntax(source: Source) -> TransferSyntax:
    """Return the table's entry for the file's transfer syntax.

    Raises
    ------
    PixelError
        No decoder is pinned for it; the text names it.
    """
    syntax = TRANSFER_SYNTAXES.get(source.transfer_syntax_uid)
    if syntax is None:
        raise PixelError(f"unsupported transfer syntax {shown(source.transfer_syntax_uid, '[0-9.]{1,64}')}")
    return syntax


def read_pixel_module(source: Source, limits: PixelLimits) -> PixelModule:
    """Return the checked Image Pixel module.

    Raises
    ------
    PixelError
        An attribute is missing, out of range, or the image is larger than the limits.
    """
    dataset, floating = source.dataset, source.element.keyword != "PixelData"
    bits_allocated = _number(dataset, "BitsAllocated", 1, 64)
    if bits_allocated not in _BITS_ALLOCATED[source.element.keyword]:
        raise PixelError(f"Bits Allocated {bits_allocated} is not supported for {source.element.keyword}")
    bits_stored = bits_allocated if floating else _number(dataset, "BitsStored", 1, bits_allocated, bits_allocated)
    samples = _number(dataset, "SamplesPerPixel", 1, 4, 1)
    if bits_allocated == 1 and samples > 1:
        raise PixelError(f"Bits Allocated 1 with {samples} Samples per Pixel")
    module = PixelModule(
        rows=_number(dataset, "Rows", 1, 65535),
        columns=_number(dataset, "Columns", 1, 65535),
        number_of_frames=max(1, _number(dataset, "NumberOfFrames", 0, 2**31 - 1, 1)),
        samples_per_pixel=samples,
        planar_configuration=_number(dataset, "PlanarConfiguration", 0, 1, 0),
        photometric_interpretation=_photometric(dataset, samples),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=_number(dataset, "HighBit", bits_stored - 1, bits_allocated - 1, bits_stored - 1),
        signed=_number(dataset, "PixelRepresentation", 0, 1, 0) == 1,
        floating=floating,
    )
    _check_limits(module, limits)
    return module


def check_length(source: Source, module: PixelModule) -> None:
    """Check that uncompressed pixel data is all there.

    Raises
    ------
    PixelError
        Fewer bytes than the Image Pixel module needs, in the element or in the file.
    """
    needed = (module.bits_per_frame * module.number_of_frames + 7) // 8
    element = source.element
    if element.length == UNDEFINED_LENGTH:
        raise PixelError("the pixel data is encapsulated, the transfer syntax says that it is not")
    there = min(element.length, element.available)
    if there < needed:
        raise PixelError(f"truncated pixel data: {there} of {needed} bytes")


def image_info(source: Source, syntax: TransferSyntax, module: PixelModule, units: str) -> ImageInfo:
    """Return what the rest of the node is told of the image before its first frame."""
    with library_call("Lossy Image Compression can't be read"):
        declared = str(source.dataset.get("LossyImageCompression", "") or "").strip()
    lossy = declared == "01" or (syntax.lossy is None and declared != "00") or bool(syntax.lossy)
    return ImageInfo(
        rows=module.rows,
        columns=module.columns,
        number_of_frames=module.number_of_frames,
        bits_stored=module.bits_stored,
        photometric_interpretation=module.photometric_interpretation,
        transfer_syntax_uid=syntax.uid,
        decoder=f"{syntax.distribution} {_version(syntax.distribution)}",
        lossy=lossy,
        units=units,
    )


@lru_cache(maxsize=16)
def _version(distribution: str) -> str:
    return version(distribution)


def _number(dataset: Dataset, keyword: str, low: int, high: int, default: int | None = None) -> int:
    """Return an integer attribute within ``low`` to ``high``, ``default`` where it is absent or empty."""
    with library_call(f"{keyword} can't be read"):
        value = dataset.get(keyword)
        if isinstance(value, (list, tuple)) or (hasattr(value, "__len__") and not isinstance(value, (str, bytes))):
            value = value[0] if len(value) else None
        if value in (None, "", b""):
            if default is None:
                raise PixelError(f"{keyword} is missing")
            return default
        number = int(value)
    if not low <= number <= high:
        raise PixelError(f"{keyword} is {number}, it must be {low} to {high}")
    return number


def _photometric(dataset: Dataset, samples: int) -> str:
    with library_call("Photometric Interpretation can't be read"):
        value = str(dataset.get("PhotometricInterpretation", "") or "").strip().upper()
    if not value:
        value = "MONOCHROME2" if samples == 1 else "RGB"
    if value not in _PHOTOMETRIC:
        raise PixelError(f"unsupported Photometric Interpretation {shown(value, '[A-Z0-9_ ]{1,16}')}")
    colour = value not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if samples != (3 if colour else 1):
        raise PixelError(f"Photometric Interpretation {value} with {samples} Samples per Pixel")
    return value


def _check_limits(module: PixelModule, limits: PixelLimits) -> None:
    if module.pixels_per_frame > limits.max_pixels_per_frame:
        raise PixelError(
            f"image too large: {module.columns} x {module.rows} pixels, the limit is {limits.max_pixels_per_frame}"
        )
    if module.number_of_frames > limits.max_frames:
        raise PixelError(f"image too large: {module.number_of_frames} frames, the limit is {limits.max_frames}")
    total = module.bits_per_frame * module.number_of_frames // 8
    if total > limits.max_decoded_bytes:
        raise PixelError(f"image too large: {total} bytes decoded, the limit is {limits.max_decoded_bytes}")
