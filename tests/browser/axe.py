"""axe-core on a page, from the script that the Python package brings."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

_GRAVE = {"serious", "critical"}


def grave_faults(page: Page) -> list[str]:
    """Return the serious and critical accessibility faults of what the page shows now, one line each."""
    found = Axe().run(page).response["violations"]
    lines = []
    for fault in found:
        if fault["impact"] in _GRAVE:
            for node in fault["nodes"]:
                summary = " ".join(node["failureSummary"].split())
                lines.append(f"{page.url} {fault['id']} ({fault['impact']}): {node['html'][:200]} {summary}")
    return lines
