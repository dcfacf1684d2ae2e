"""A decoding plugin for pydicom: every JPEG process (ISO/IEC 10918-1) by GDCM, 12-bit and progressive ones included.

pydicom's own GDCM plugin refuses JPEG Extended of more than 8 bits and knows neither spectral selection nor full
progression; GDCM decodes all of them, bit for bit as DCMTK does.
"""

import gdcm
from pydicom.pixels.decoders.base import DecodeRunner

from medfake_pacs.pixels.codestream import jpeg_frame

_UIDS = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 57, 70))
DECODER_DEPENDENCIES = dict.fromkeys(_UIDS, ("python-gdcm>=3.0.24",))


def is_available(uid: str) -> bool:
    """Tell pydicom whether the plugin decodes a transfer syntax."""
    return uid in DECODER_DEPENDENCIES


def _decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """Return one frame's samples as little endian bytes; the name is pydicom's contract for plugins.

    Raises
    ------
    ValueError
        GDCM could not decode the whole frame.
    """
    precision = jpeg_frame(src).precision
    # The samples' container follows the codestream, whatever Bits Allocated says.
    runner.set_option("bits_allocated", 8 if precision <= 8 else 16)
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(_pixel_data(src))
    photometric = gdcm.PhotometricInterpretation.GetPIType(str(runner.photometric_interpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    if runner.samples_per_pixel > 1:
        image.SetPlanarConfiguration(runner.planar_configuration)
    syntax = gdcm.TransferSyntax.GetTSType(str.__str__(runner.transfer_syntax))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    image.SetPixelFormat(
        gdcm.PixelFormat(
            runner.samples_per_pixel, runner.bits_allocated, precision, precision - 1, runner.pixel_representation
        )
    )
    samples = image.GetBuffer()
    if samples is None:
        raise ValueError("the codestream is damaged or cut off")
    return samples.encode("utf-8", "surrogateescape")  # GDCM hands bytes over as text


def _pixel_data(src: bytes) -> gdcm.DataElement:
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(src)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    return element
