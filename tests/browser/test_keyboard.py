"""The keyboard alone: sign in, upload, look at a study; what has the focus can be seen."""

from playwright.sync_api import Page, expect

from medfake_pacs.console.security.permissions import Role
from tests.browser.conftest import ALONE, OpenPage, Sent
from tests.browser.images import Images
from tests.browser.looking import expect_picture
from tests.browser.system import System

pytestmark = ALONE

_FOCUSED = """() => {
  const at = document.activeElement;
  return [at.tagName.toLowerCase(), at.id, at.getAttribute("href") ?? "", at.textContent.trim().slice(0, 60)].join("|");
}"""
_HAS_RING = """() => {
  const style = getComputedStyle(document.activeElement);
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
}"""
_MOST_STOPS = 80


def _tab_to(page: Page, what: str) -> None:
    """Press Tab until the focus is on an element whose tag, id, address or text holds ``what``."""
    stops = []
    for _ in range(_MOST_STOPS):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(_FOCUSED))
        assert page.evaluate(_HAS_RING), f"the focus can't be seen on {stops[-1]}"
        if what in stops[-1]:
            return
    raise AssertionError(f"Tab never came to {what}: {stops}")


def _sign_in(page: Page, name: str, password: str) -> None:
    page.goto("/sign-in")
    _tab_to(page, "field-user_name")
    page.keyboard.type(name)
    _tab_to(page, "field-password")
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def test_from_sign_in_to_a_study_and_through_its_images(open_page: OpenPage, system: System, sent: Sent) -> None:
    who = system.account("viewer", Role.VIEWER)
    page = open_page()
    _sign_in(page, who.name, who.password)
    page.goto("/worklist")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    _tab_to(page, sent.ct)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{system.url}/studies/{sent.ct}")
    expect_picture(page)
    page.locator("[data-stage]").first.focus()
    label = page.locator("[data-label]").first
    page.keyboard.press("Home")
    shown = label.inner_text()
    page.keyboard.press("PageDown")
    expect(label).not_to_have_text(shown)
    zoom = page.locator("[data-zoom-text]").first
    before = zoom.inner_text()
    page.keyboard.press("+")
    expect(zoom).not_to_have_text(before)


def test_an_upload(open_page: OpenPage, system: System, images: Images) -> None:
    who = system.account("viewer", Role.VIEWER)
    page = open_page()
    _sign_in(page, who.name, who.password)
    _tab_to(page, "/checks")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Check images")).to_be_visible()
    _tab_to(page, "input|files|")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(images.knee_real)
    _tab_to(page, "upload-button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible(timeout=90_000)
