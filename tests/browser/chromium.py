"""Debian's Chromium, driven by Playwright."""

from playwright.sync_api import Browser, Page, Playwright

from tests.browser.system import Account
from tests.support import need_tool

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",  # it refuses root otherwise
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def launch(playwright: Playwright) -> Browser:
    """Return a headless Chromium; skip the test without one, or fail where CI requires it."""
    return playwright.chromium.launch(executable_path=need_tool(CHROMIUM), args=list(ARGUMENTS))


def sign_in(page: Page, who: Account) -> None:
    """Sign in by the form."""
    page.goto("/sign-in")
    page.get_by_label("Name").fill(who.name)
    page.get_by_label("Password").fill(who.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
