"""Dead letters: a report that its archive didn't take is found, sent again, and arrives."""

from pathlib import Path

from playwright.sync_api import expect

from medfake_pacs.console.security.permissions import Role
from tests import material
from tests.browser.conftest import ALONE, OpenPage
from tests.browser.system import System
from tests.orthanc import OrthancPeer
from tests.support import wait_for

pytestmark = ALONE


def test_a_dead_letter_is_sent_again_once_its_destination_answers(
    open_page: OpenPage, system: System, tmp_path: Path
) -> None:
    series = material.ct_series(1)
    system.storescu(*material.save(series, tmp_path / "sent"), calling="CLINIC")
    study = series[0].StudyInstanceUID
    wait_for(
        lambda: system.node.rows("deliveries", study_instance_uid=study, state="dead"), 60, "the report to be given up"
    )
    page = open_page(system.account("chief", Role.ADMINISTRATOR))
    page.goto(f"/node/deliveries?state=dead&study={study}")
    page.get_by_role("table").get_by_role("link", name="Attempts").click()
    expect(page.get_by_text("dead letter", exact=True)).to_be_visible()

    (tmp_path / "archive").mkdir()
    archive = OrthancPeer(tmp_path / "archive", ae_title="CLINICARCHIVE", dicom_port=system.far_port).start()
    try:
        page.get_by_role("button", name="Send delivery").click()
        wait_for(lambda: list(archive.reports_of(study)), 60, "the report to arrive")
    finally:
        archive.stop()
    wait_for(lambda: system.node.rows("deliveries", study_instance_uid=study, state="sent"), 20, "the answer")
    page.goto(f"/node/deliveries?study={study}")
    expect(page.get_by_role("table").get_by_text("sent", exact=True)).to_be_visible()
