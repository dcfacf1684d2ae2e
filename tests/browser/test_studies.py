"""The worklist and a study that came by C-STORE: found, looked at, agreed and disagreed with."""

from pathlib import Path

from playwright.sync_api import expect

from medfake_pacs.console.security.permissions import Role
from tests import material
from tests.browser.conftest import ALONE, OpenPage, Sent
from tests.browser.looking import VERDICT, expect_heat_map, expect_picture
from tests.browser.system import System
from tests.support import wait_for

pytestmark = ALONE


def test_a_study_that_was_sent_is_found_and_shown_with_picture_heat_map_and_verdict(
    open_page: OpenPage, system: System, sent: Sent
) -> None:
    page = open_page(system.account("viewer", Role.VIEWER))
    page.goto("/worklist")
    page.get_by_label("Modality").select_option("CT")
    page.get_by_label("Patient ID").fill("BROWSER-1")
    page.get_by_role("button", name="Search").click()
    row = page.locator(f'[data-study="{sent.ct}"]')
    expect(row.locator(".verdict")).to_have_text(VERDICT)
    expect(page.locator(f'[data-study="{sent.knee}"]')).to_have_count(0)
    row.get_by_role("link").first.click()

    expect(page).to_have_url(f"{system.url}/studies/{sent.ct}")
    expect(page.locator(".verdict-large .verdict")).to_have_text(VERDICT)
    expect(page.get_by_text("Probability of fake").first).to_be_visible()
    expect_picture(page)
    expect_heat_map(page)
    label = page.locator("[data-label]").first
    shown = label.inner_text()
    page.locator("[data-act=next]:enabled, [data-act=previous]:enabled").first.click()
    expect(label).not_to_have_text(shown)


def test_the_worklist_shows_what_arrives_without_a_reload(open_page: OpenPage, system: System, tmp_path: Path) -> None:
    page = open_page(system.account("viewer", Role.VIEWER))
    page.goto("/worklist")
    series = material.ct_series(1, seed=11)
    system.storescu(*material.save(series, tmp_path / "sent"))
    expect(page.locator(f'[data-study="{series[0].StudyInstanceUID}"]')).to_be_visible()


def test_a_radiologist_disagrees_and_agrees_and_the_archive_gets_both_reports(
    open_page: OpenPage, system: System, sent: Sent
) -> None:
    page = open_page(system.account("radiologist", Role.RADIOLOGIST))
    page.goto(f"/studies/{sent.knee}")
    before = len(list(system.orthanc.reports_of(sent.knee)))
    page.get_by_label("I disagree").check()
    page.get_by_role("textbox", name="Comment").fill("A shadow of the splint, nothing else.")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#reviews .timeline")).to_contain_text("A shadow of the splint")
    page.get_by_label("I agree").check()
    page.get_by_role("textbox", name="Comment").fill("")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#reviews .timeline > li")).to_have_count(2)
    wait_for(
        lambda: len(list(system.orthanc.reports_of(sent.knee))) == before + 2, 60, "both reviews' reports to arrive"
    )
    kinds = {row.kind for row in system.node.rows("audit_events", study_instance_uid=sent.knee)}
    assert any("review" in kind for kind in kinds), kinds


def test_a_viewer_has_no_form_to_review_with(open_page: OpenPage, system: System, sent: Sent) -> None:
    page = open_page(system.account("viewer", Role.VIEWER))
    page.goto(f"/studies/{sent.knee}")
    expect(page.get_by_role("heading", name="Reviews")).to_be_visible()
    expect(page.get_by_role("button", name="Record")).to_have_count(0)
