"""Build the Structured Report (TID 1500) that carries a verdict back to the PACS.

The receiver imports ``report.recognise`` from here, so that nothing is loaded until it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medfake_pacs.report.build import build_report as build_report
    from medfake_pacs.report.comprehensive import as_comprehensive as as_comprehensive
    from medfake_pacs.report.recognise import is_own_report as is_own_report
    from medfake_pacs.report.review import Review as Review
    from medfake_pacs.report.review import build_review as build_review
    from medfake_pacs.report.settings import ReportSettings as ReportSettings

_HOMES = {
    "build_report": "build",
    "build_review": "review",
    "Review": "review",
    "as_comprehensive": "comprehensive",
    "is_own_report": "recognise",
    "ReportSettings": "settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
