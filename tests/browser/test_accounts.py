"""Signing in and out, with the mouse and with the keyboard alone."""

from playwright.sync_api import expect

from tests.browser.axe import grave_faults
from tests.browser.conftest import OpenPage
from tests.browser.system import EVERY_ROLE, System


def test_signing_in_and_out(open_page: OpenPage, system: System) -> None:
    page = open_page(system.account("everyone", *EVERY_ROLE))
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{system.url}/sign-in")
    page.goto("/worklist")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_sign_in_page_has_no_grave_accessibility_fault(open_page: OpenPage) -> None:
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        page.goto("/sign-in")
        assert grave_faults(page) == []
