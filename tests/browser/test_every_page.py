"""Every page, in both themes and on a phone: no grave accessibility fault, no sideways scrolling, one heading."""

from importlib import import_module

import pytest
from playwright.sync_api import Browser, Page, expect

from medfake_pacs.console import app
from tests.browser.axe import grave_faults
from tests.browser.chromium import sign_in
from tests.browser.conftest import ALONE, OpenPage, Sent
from tests.browser.images import Images
from tests.browser.system import EVERY_ROLE, System
from tests.support import wait_for

pytestmark = ALONE

# Answers that are no pages: pictures, files, and parts of a page that it fetches itself.
_NO_PAGES = (
    ".png",
    ".raw",
    "/report",
    "/reports/{report_uid}",
    "/progress",
    "/rows",
    "/log/export",
    "/oidc",
    "/callback",
)
_PHONE = {"width": 390, "height": 844}
_SIGNED_OUT = {"/sign-in", "/register"}


def _routes() -> set[str]:
    """Return the path of each page that the console has."""
    found = set()
    for name in app.PAGES:
        for route in import_module(f"medfake_pacs.console.pages.{name}").router.routes:
            if "GET" in route.methods and not route.path.endswith(_NO_PAGES):
                found.add(route.path)
    return found - {"/"}


@pytest.fixture(scope="package")
def check_id(system: System, chromium: Browser, images: Images) -> str:
    """Upload an image as the account of these tests, and return the finished check's number."""
    context = chromium.new_context(base_url=system.url)
    page = context.new_page()
    sign_in(page, system.account("everyone", *EVERY_ROLE))
    page.goto("/checks")
    page.get_by_label("Choose files").set_input_files(images.lung_fake)
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible(timeout=90_000)
    number = page.url.rsplit("/", 1)[-1]
    context.close()
    return number


@pytest.fixture
def addresses(system: System, sent: Sent, check_id: str) -> dict[str, str]:
    """Return an address for each page's path."""
    wait_for(lambda: system.node.rows("deliveries"), 60, "a delivery")
    delivery = f"/node/deliveries/{system.node.rows('deliveries')[0].delivery_id}"
    return {
        **{path: path for path in _routes() if "{" not in path},
        "/accounts/{user_id}": "/accounts/1",
        "/checks/{check_id}": f"/checks/{check_id}",
        "/studies/{study_instance_uid}": f"/studies/{sent.ct}",
        "/log/{seq}": "/log/1",
        "/node/deliveries/{delivery_id}": delivery,
        "/node/deliveries/{delivery_id}/dismiss": f"{delivery}/dismiss",
    }


def _opened(page: Page, addresses: dict[str, str], *, signed_out: bool) -> list[str]:
    """Return the faults of the pages, signed in or out."""
    faults = []
    for path, address in sorted(addresses.items()):
        if (path in _SIGNED_OUT) is not signed_out:
            continue
        page.goto(address)
        expect(page.locator("h1")).to_have_count(1)
        faults += grave_faults(page)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            faults.append(f"{path} scrolls sideways by {wide} px")
    return faults


@pytest.mark.parametrize(
    "look", [{"color_scheme": "light"}, {"color_scheme": "dark", **_PHONE}], ids=["light", "dark, phone"]
)
def test_no_page_has_a_grave_fault(
    open_page: OpenPage, system: System, addresses: dict[str, str], look: dict[str, object]
) -> None:
    assert set(addresses) == _routes()
    faults = _opened(open_page(**look), addresses, signed_out=True)
    faults += _opened(open_page(system.account("everyone", *EVERY_ROLE), **look), addresses, signed_out=False)
    assert not faults, "\n".join(faults)


def test_the_menu_of_a_phone_opens_without_script(open_page: OpenPage, system: System) -> None:
    page = open_page(system.account("everyone", *EVERY_ROLE), **_PHONE)
    cookies = page.context.cookies()
    plain = open_page(java_script_enabled=False, **_PHONE)
    plain.context.add_cookies(cookies)
    plain.goto("/worklist")
    expect(plain.get_by_role("link", name="Check images")).to_be_hidden()
    plain.get_by_role("button", name="Menu").click()
    plain.get_by_role("link", name="Check images").click()
    expect(plain.get_by_role("heading", name="Check images")).to_be_visible()


def test_an_address_that_is_none_says_so(open_page: OpenPage, system: System) -> None:
    page = open_page(system.account("everyone", *EVERY_ROLE))
    page.watch.expected |= {404}
    page.goto("/no-such-page")
    expect(page.get_by_role("link", name="To the start")).to_be_visible()
    assert grave_faults(page) == []
