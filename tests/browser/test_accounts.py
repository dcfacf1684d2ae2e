"""Accounts: registering openly and by invitation, approval, signing in and out, guessing passwords."""

import re

from playwright.sync_api import Page, expect

from medfake_pacs.console.security.permissions import Role
from tests.browser.chromium import sign_in
from tests.browser.conftest import ALONE, OpenPage
from tests.browser.system import EVERY_ROLE, PASSWORD, Account, System

pytestmark = ALONE


def _register(page: Page, name: str) -> Account:
    page.get_by_label("Name to sign in with").fill(name)
    page.get_by_label("Your name").fill(name.title())
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="Registered")).to_be_visible()
    return Account(name=name)


def _approve(page: Page, name: str, role: Role) -> None:
    page.goto("/accounts?state=pending")
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("checkbox", name=re.compile(f"^{role}")).check()
    page.get_by_role("button", name="Approve with these roles").click()
    expect(page.get_by_text("active", exact=True)).to_be_visible()


def test_who_registers_openly_can_sign_in_once_approved(open_page: OpenPage, system: System) -> None:
    visitor = open_page()
    visitor.watch.expected |= {401, 403}
    visitor.goto("/sign-in")
    visitor.get_by_role("link", name="Register").click()
    newcomer = _register(visitor, "newcomer")
    visitor.goto("/sign-in")
    visitor.get_by_label("Name").fill(newcomer.name)
    visitor.get_by_label("Password").fill(newcomer.password)
    visitor.get_by_role("button", name="Sign in", exact=True).click()
    expect(visitor.get_by_role("alert")).to_be_visible()
    expect(visitor.get_by_role("navigation", name="Main")).to_have_count(0)

    _approve(open_page(system.account("chief", Role.ADMINISTRATOR)), newcomer.name, Role.VIEWER)

    sign_in(visitor, newcomer)
    navigation = visitor.get_by_role("navigation", name="Main")
    expect(navigation.get_by_role("link", name="Worklist")).to_be_visible()
    expect(navigation.get_by_role("link", name="Accounts")).to_have_count(0)


def test_who_is_invited_gets_the_roles_of_the_invitation(open_page: OpenPage, system: System) -> None:
    chief = open_page(system.account("chief", Role.ADMINISTRATOR))
    chief.goto("/accounts")
    chief.get_by_label("For whom").fill("a new colleague")
    chief.get_by_role("checkbox", name=re.compile("^radiologist")).check()
    chief.get_by_role("button", name="Make invitation").click()
    link = chief.locator("code.digest").first.inner_text()

    guest = open_page()
    guest.goto(link[link.index("/register") :])
    colleague = _register(guest, "colleague")
    chief.goto("/accounts?state=pending")
    chief.get_by_role("link", name=colleague.name, exact=True).click()
    expect(chief.get_by_role("checkbox", name=re.compile("^radiologist"))).to_be_checked()
    chief.get_by_role("button", name="Approve with these roles").click()
    sign_in(guest, colleague)
    expect(guest.get_by_role("navigation", name="Main")).to_be_visible()


def test_signing_in_and_out(open_page: OpenPage, system: System) -> None:
    page = open_page(system.account("everyone", *EVERY_ROLE))
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/worklist")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_five_wrong_passwords_make_even_the_right_one_wait(open_page: OpenPage, system: System) -> None:
    page = open_page()
    page.watch.expected |= {401, 429}
    who = system.account("guessed", Role.VIEWER)
    for attempt in range(5):
        page.goto("/sign-in")
        page.get_by_label("Name").fill(who.name)
        page.get_by_label("Password").fill(f"wrong {attempt}")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Name").fill(who.name)
    page.get_by_label("Password").fill(who.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"wait|again in|minute|s\b"))
    expect(page.get_by_role("navigation", name="Main")).to_have_count(0)


def test_a_dangerous_button_asks_first_and_does_nothing_when_cancelled(open_page: OpenPage, system: System) -> None:
    system.account("leaver", Role.VIEWER)
    page = open_page(system.account("chief", Role.ADMINISTRATOR))
    page.goto("/accounts?search=leaver")
    page.get_by_role("link", name="leaver", exact=True).click()
    button = page.get_by_role("button", name="Disable account")
    button.click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("active", exact=True)).to_be_visible()
    button.click()
    page.get_by_role("dialog").get_by_role("button", name="Disable account").click()
    expect(page.get_by_text("disabled", exact=True)).to_be_visible()
