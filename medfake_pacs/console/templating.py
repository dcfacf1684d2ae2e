"""The templates' environment: what every page is given, and how values are written."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medfake_pacs import __version__, wording
from medfake_pacs.console.security.identity import identify

TEMPLATES = Path(__file__).resolve().parent / "templates"


def make_templates() -> Jinja2Templates:
    """Return the templates: everything is escaped, and a name that isn't there is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = __version__
    environment.globals["wording"] = wording
    environment.filters.update(
        time=time_text,
        bytes=bytes_text,
        probability=probability_text,
        span=span_text,
        short=short_digest,
        person=person_text,
        dicom_date=date_text,
    )
    return Jinja2Templates(env=environment, context_processors=[_who])


def _who(request: Request) -> dict[str, Any]:
    """Give each page the identity (or None), so that it shows what this account may do."""
    return {"identity": identify(request), "path": request.url.path}


def time_text(seconds: float | None) -> str:
    """Return seconds since the epoch as ``2026-01-31 08:00:00Z``, empty for None: the command line's form."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def bytes_text(count: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def probability_text(value: float | None) -> str:
    """Return a probability with three decimals, as the command line does; empty for None."""
    return "" if value is None else f"{value:.3f}"


def span_text(seconds: float | None) -> str:
    """Return a length of time in its two largest units: ``2 d 3 h``; empty for None."""
    if seconds is None:
        return ""
    remaining = int(max(0.0, seconds))
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, remaining = divmod(remaining, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def short_digest(digest: str) -> str:
    """Return the first twelve digits of a SHA-256, as the command line shows it."""
    return digest[:12]


def person_text(name: str) -> str:
    """Return a DICOM person name (PN) as people read it: ``Family, Given Middle``; ideographic groups follow."""
    groups = []
    for group in name.split("="):
        family, given, middle, prefix, suffix = (part.strip() for part in (group.split("^") + [""] * 5)[:5])
        rest = " ".join(part for part in (prefix, given, middle) if part)
        groups.append(", ".join(part for part in (family, rest, suffix) if part))
    return " · ".join(group for group in groups if group)


def date_text(value: str) -> str:
    """Return a DICOM date (DA) as ``2026-01-31``; anything else as it is."""
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 and value.isdecimal() else value
