"""The border to the DICOM and codec libraries: their exceptions and warnings stop here."""

import re
import struct
import warnings
import zlib
from types import TracebackType

from pydicom.errors import BytesLengthException, InvalidDicomError

from medfake_pacs.errors import PixelError

# What pydicom and the codecs were seen to raise on damaged input; pydicom promises no narrower set.
LIBRARY_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
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
_QUOTED_VALUE = re.compile(r"""\bb['"].*|(with base \d+|to float|for VR \w+): .*""")
_REASON_LENGTH = 240


def one_line(text: object) -> str:
    """Return a library's message on one line of printable ASCII, without the values that it quotes.

    A damaged header's values may be a piece of any other attribute, and a reason goes into logs and reports.
    """
    words = _PLUGIN_PREFIX.sub("", " ".join(str(text).split()))
    words = _QUOTED_VALUE.sub(lambda found: found[1] or "(a value)", words)
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in words)
    return printable if len(printable) <= _REASON_LENGTH else printable[: _REASON_LENGTH - 3] + "..."


def shown(value: str, pattern: str) -> str:
    """Return ``value`` where it looks as its kind of value does, "(not readable)" where it doesn't."""
    return value if re.fullmatch(pattern, value) else "(not readable)"


class library_call:  # noqa: N801 - used like a function, in a with statement
    """Run library code: its warnings are dropped, its exceptions become PixelError("``action``: what it said").

    Never yield a frame to a caller inside: the warning filters that it sets belong to the whole process.
    """

    def __init__(self, action: str) -> None:
        self._action = action
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._filters.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._filters.__exit__(kind, error, trace)
        if isinstance(error, MemoryError):
            raise PixelError(f"{self._action}: not enough memory") from error
        # Rust's panics derive from BaseException and can't be imported, so they are known by their name.
        if isinstance(error, LIBRARY_ERRORS) or (kind is not None and kind.__name__ == "PanicException"):
            raise PixelError(f"{self._action}: {one_line(error) or kind.__name__}") from error
