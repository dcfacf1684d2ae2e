"""The worklist and a study that came by C-STORE: found, looked at, agreed and disagreed with."""

from pathlib import Path

from playwright.sync_api import expect

from medfake_pacs.console.security.permissions import Role
from tests import material
from tests.browser.conftest import ALONE, OpenPage, Sent
from tests.browser.looking import VERDICT, expect_heat_map, expect_picture
from tests.browser.system import Account, System
from tests.console_studies import FAKE_LOGIT, studies_of
from tests.console_support import console_settings, running_console
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


def test_what_somebody_types_outlives_a_newer_verdict_and_is_not_taken_for_an_opinion_on_it(
    open_page: OpenPage, tmp_path: Path
) -> None:
    settings = console_settings(tmp_path)
    with running_console(settings) as console, studies_of(settings, console.engine, tmp_path) as studies:
        series = material.ct_series(4)
        uid = studies.make(series[:3])
        studies.receive(series[3:])
        console.add_user("weber", Role.RADIOLOGIST)
        page = open_page(Account(name="weber"), url=console.url)
        page.goto(f"/studies/{uid}")
        expect(page.locator("#progress")).to_contain_text("Images are arriving")
        page.get_by_label("I disagree").check()
        comment = page.get_by_role("textbox", name="Comment")
        comment.fill("No nodule on the three images.")
        studies.score(lambda _row: FAKE_LOGIT)
        studies.assess()
        expect(page.locator("#progress")).to_contain_text("A newer verdict is there, on revision 2.")
        expect(comment).to_have_value("No nodule on the three images.")
        expect(page.locator("[name=revision]")).to_have_value("1")
        page.watch.expected.add(409)  # type: ignore[attr-defined]
        page.get_by_role("button", name="Record").click()
        expect(page.get_by_text("Your opinion wasn't recorded.")).to_be_visible()
        page.get_by_role("link", name="Worklist").first.click()
        page.goto(f"/studies/{uid}")
        expect(page.get_by_text("Your opinion on revision 2")).to_be_visible()
        page.context.close()


def test_an_image_whose_file_is_gone_is_said_to_be_not_kept(open_page: OpenPage, tmp_path: Path) -> None:
    settings = console_settings(tmp_path)
    with running_console(settings) as console, studies_of(settings, console.engine, tmp_path) as studies:
        uid = studies.make(material.ct_series(3), lambda _row: FAKE_LOGIT)
        studies.path_of(1).unlink()
        console.add_user("anna", Role.VIEWER)
        page = open_page(Account(name="anna"), url=console.url)
        page.goto(f"/studies/{uid}?image=1#viewer")
        expect(page.locator("[data-error]")).to_have_text("Image 1 is not kept any more.")
        page.locator("[data-act=next]").click()
        expect(page.locator("[data-error]")).to_be_hidden()
        expect_picture(page)
        page.context.close()


def test_the_plot_of_days_begins_at_the_left_of_a_wide_page(open_page: OpenPage, system: System, sent: Sent) -> None:
    page = open_page(system.account("auditor", Role.AUDITOR), width=1600)
    page.goto("/statistics")
    plot = page.locator(".plot").first
    box, chart = plot.bounding_box(), plot.get_by_role("img").bounding_box()
    assert box
    assert chart
    assert sent.ct
    assert abs(chart["x"] - box["x"]) < 2
    assert abs(chart["width"] - box["width"]) < 2
