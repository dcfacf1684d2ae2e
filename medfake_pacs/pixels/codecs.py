"""Stored values of one frame at a time, by the decoder that the table pins for the transfer syntax."""

import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import UID

from medfake_pacs.errors import PixelError
from medfake_pacs.pixels.codestream import check_codestream, is_cut_off
from medfake_pacs.pixels.fragments import frame_fragments, read_frame
from medfake_pacs.pixels.header import PixelModule
from medfake_pacs.pixels.library import library_call
from medfake_pacs.pixels.source import Source
from medfake_pacs.pixels.syntaxes import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, TransferSyntax

StoredFrame = tuple[npt.NDArray[Any], str]


def stored_frames(source: Source, syntax: TransferSyntax, module: PixelModule) -> Iterator[StoredFrame]:
    """Yield each frame's stored values, little endian, and the photometric interpretation that they are in.

    Arrays are (H, W), or (H, W, 3) whatever the Planar Configuration; integers of Bits Allocated, or floats.

    Raises
    ------
    PixelError
        A frame is cut off, damaged, or not what the header says.
    """
    if not syntax.encapsulated:
        return _native_frames(source, syntax, module)
    return _encapsulated_frames(source, syntax, module)


def _native_frames(source: Source, syntax: TransferSyntax, module: PixelModule) -> Iterator[StoredFrame]:
    for index in range(module.number_of_frames):
        with library_call("the pixel data can't be read"):
            if module.bits_allocated == 1:
                stored, photometric = _unpacked_frame(source, module, index), module.photometric_interpretation
            else:
                stored, photometric = _native_frame(source, syntax, module, index)
        yield stored, photometric


def _native_frame(source: Source, syntax: TransferSyntax, module: PixelModule, index: int) -> StoredFrame:
    options = _options(module, source.element.keyword)
    options["pixel_vr"] = source.element.vr
    # Where pydicom must change the values it can't give a view of the file's bytes, and logs that it was asked to.
    plain = syntax.uid != EXPLICIT_VR_BIG_ENDIAN and not module.subsampled
    options["view_only"] = plain and (module.floating or module.bits_stored == module.bits_allocated)
    source.file.seek(source.element.offset)
    decoder = get_decoder(UID(_plain(syntax)))
    values, properties = decoder.as_array(source.file, index=index, raw=True, **options)
    return _finished(values, module), str(properties["photometric_interpretation"])


def _unpacked_frame(source: Source, module: PixelModule, index: int) -> npt.NDArray[np.uint8]:
    """Unpack a frame of single bits, which may start and end within a byte (PS3.5 8.1.1).

    pydicom's decoder reads a byte too few for a frame that straddles one more byte than it has bits for.
    """
    count = module.pixels_per_frame
    first, start = divmod(index * count, 8)
    source.file.seek(source.element.offset + first)
    packed = np.frombuffer(source.file.read((start + count + 7) // 8), dtype=np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[start : start + count]
    return np.ascontiguousarray(bits.reshape(module.rows, module.columns))


def _encapsulated_frames(source: Source, syntax: TransferSyntax, module: PixelModule) -> Iterator[StoredFrame]:
    for number, fragments in enumerate(frame_fragments(source, module), 1):
        where = f" of frame {number}" if module.number_of_frames > 1 else ""
        data = read_frame(source.file, fragments)
        check_codestream(syntax.family, data, module, where)
        if syntax.plugin == "pyjpegls" and is_cut_off(syntax.family, data):
            # CharLS can loop for ever behind the end of such a codestream.
            raise PixelError(f"truncated codestream{where}: it has no end marker")
        try:
            with library_call(f"the {syntax.name} codestream{where} can't be decoded"):
                values, properties = _decoded(data, syntax, module)
                frame = _finished(values, module)
        except PixelError as error:
            if is_cut_off(syntax.family, data):
                raise PixelError(f"truncated codestream{where}: it has no end marker") from error
            raise
        yield frame, str(properties["photometric_interpretation"])


def _decoded(data: bytes, syntax: TransferSyntax, module: PixelModule) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    if syntax.family == "deflate":
        return _inflated_frame(data, module)
    return _codec_frame(data, syntax, module)


def _codec_frame(data: bytes, syntax: TransferSyntax, module: PixelModule) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    one_frame = encapsulate([data], has_bot=False)
    options = _options(module, "PixelData") | {"number_of_frames": 1}
    return _decoder(syntax.uid, syntax.plugin).as_array(
        one_frame, index=0, raw=True, decoding_plugin=syntax.plugin, **options
    )


def _inflated_frame(data: bytes, module: PixelModule) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Inflate one frame to no more than it can need (PS3.5 A.4.13)."""
    needed = (module.bits_per_frame + 7) // 8
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, needed)
    if len(inflated) < needed:
        raise PixelError(f"truncated pixel data: {len(inflated)} of {needed} bytes of a frame")
    options = _options(module, "PixelData") | {"number_of_frames": 1}
    return get_decoder(UID(EXPLICIT_VR_LITTLE_ENDIAN)).as_array(inflated, index=0, raw=True, **options)


@lru_cache(maxsize=32)
def _decoder(uid: str, plugin: str) -> Decoder:
    """Return pydicom's decoder for a transfer syntax, our own instance of it where the plugin is ours."""
    if plugin != "gdcm":
        return get_decoder(UID(uid))
    decoder = Decoder(UID(uid))
    decoder.add_plugin(plugin, ("medfake_pacs.pixels.gdcm_plugin", "_decode_frame"))
    return decoder


def _plain(syntax: TransferSyntax) -> str:
    """Return the decoder's transfer syntax: what was deflated is inflated by now."""
    return EXPLICIT_VR_LITTLE_ENDIAN if syntax.uid.startswith(EXPLICIT_VR_LITTLE_ENDIAN) else syntax.uid


def _options(module: PixelModule, keyword: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "rows": module.rows,
        "columns": module.columns,
        "number_of_frames": module.number_of_frames,
        "samples_per_pixel": module.samples_per_pixel,
        "photometric_interpretation": module.photometric_interpretation,
        "bits_allocated": module.bits_allocated,
        "pixel_keyword": keyword,
    }
    if not module.floating:
        options["bits_stored"] = module.bits_stored
        options["pixel_representation"] = int(module.signed)
        if _shifted(module):
            options["correct_unused_bits"] = False
    if module.samples_per_pixel > 1:
        options["planar_configuration"] = module.planar_configuration
    return options


def _shifted(module: PixelModule) -> bool:
    """Tell whether the stored bits lie above unused ones, as objects before 2009 may have them (PS3.5 8.1.1)."""
    return not module.floating and module.high_bit != module.bits_stored - 1


def _finished(values: npt.NDArray[Any], module: PixelModule) -> npt.NDArray[Any]:
    frame = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    if _shifted(module):
        unused_above = module.bits_allocated - 1 - module.high_bit
        frame = (frame << unused_above) >> (module.bits_allocated - module.bits_stored)
    return frame
