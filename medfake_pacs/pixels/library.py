"""The border to the DICOM and codec libraries: their exceptions and warnings stop here."""

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.errors import InvalidDicomError

from medfake_pacs.errors import PixelError

# What pydicom and the codecs were seen to raise on damaged input; pydicom promises no narrower set.
LIBRARY_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    InvalidDicomError,
    LookupError,
    OSError,
    RuntimeError,
    SystemError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
# pydicom's preface to what the one pinned plugin said.
_PLUGIN_PREFIX = re.compile(r"^Unable to decode as exceptions were raised by all available plugins: \w+: ")
_REASON_LENGTH = 240


def one_line(text: object) -> str:
    """Return ``text`` on one line of printable ASCII, cut to what a report's reason can hold."""
    words = _PLUGIN_PREFIX.sub("", " ".join(str(text).split()))
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in words)
    return printable if len(printable) <= _REASON_LENGTH else printable[: _REASON_LENGTH - 3] + "..."


@contextmanager
def library_call(action: str) -> Iterator[None]:
    """Run library code: its warnings are dropped, its exceptions become PixelError("``action``: what it said").

    Never yield a frame to a caller inside: the warning filters that it sets belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except PixelError:
            raise
        except MemoryError as error:
            raise PixelError(f"{action}: not enough memory") from error
        except LIBRARY_ERRORS as error:
            raise PixelError(f"{action}: {one_line(error) or type(error).__name__}") from error
