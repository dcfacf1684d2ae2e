"""The names that browsers and archives give to files: shown, never used as paths."""

import unicodedata

_MAX_CHARACTERS = 120
_NO_NAME = "(no name)"


def shown_name(name: str, *, whole_path: bool = False) -> str:
    """Return a name that can be shown: without control and direction characters, of bounded length.

    A browser's name loses its folders; an archive's keeps them with ``whole_path``.
    """
    text = name if whole_path else name.replace("\\", "/").rsplit("/", 1)[-1]
    # Of category C: controls, text direction, surrogates, private use, unassigned.
    text = "".join(each for each in text if not unicodedata.category(each).startswith("C")).strip()
    if len(text) > _MAX_CHARACTERS:
        half = _MAX_CHARACTERS // 2
        text = f"{text[: half - 1]}…{text[-half:]}"
    return text or _NO_NAME
