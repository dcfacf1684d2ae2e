"""Where to go after signing in: a path of this console only, whatever a link asks for."""

from urllib.parse import urlsplit

_LONGEST = 2000
_HOME = "/"


def local_path(wanted: str) -> str:
    """Return ``wanted`` if it is a path of this site, else the start page.

    Browsers read ``\\`` as ``/`` and drop tabs and line feeds (WHATWG URL 4.4), so ``/\\evil`` and ``/<TAB>/evil``
    would lead to another host.
    """
    if not wanted.startswith("/") or wanted.startswith("//") or len(wanted) > _LONGEST:
        return _HOME
    if "\\" in wanted or not all(character.isprintable() for character in wanted):
        return _HOME
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return _HOME
    return _HOME if parts.scheme or parts.netloc or parts.path in {"/sign-in", "/sign-out"} else wanted
