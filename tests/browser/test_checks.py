"""Checking images: real and manipulated ones of lung and knee, as DICOM and PNG, chosen, dropped, zipped."""

import re
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from pydicom import dcmread

from medfake_pacs.console.security.permissions import Role
from tests.browser.conftest import ALONE, OpenPage
from tests.browser.images import Images
from tests.browser.looking import VERDICT, expect_heat_map, expect_picture
from tests.browser.system import System

pytestmark = ALONE


def _check(page: Page, choice: str, *paths: Path) -> None:
    page.goto("/checks")
    page.get_by_label("Choose files").set_input_files(list(paths))
    page.get_by_role("radio", name=re.compile(choice, re.IGNORECASE)).check()
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible(timeout=60_000)


def _expect_result(page: Page) -> None:
    """Expect verdict, picture and heat map, whatever the verdict is."""
    expect(page.locator("#verdict-heading .verdict")).to_have_text(VERDICT)
    expect(page.get_by_text("Probability of fake").first).to_be_visible()
    expect_picture(page)
    expect_heat_map(page)


@pytest.mark.parametrize(
    ("choice", "image"),
    [
        ("lung", "lung_real"),
        ("lung", "lung_fake"),
        ("knee", "knee_real"),
        ("knee", "knee_fake"),
        ("detect", "lung_real"),
    ],
)
def test_an_uploaded_image_comes_back_with_picture_heat_map_and_verdict(
    open_page: OpenPage, system: System, images: Images, choice: str, image: str
) -> None:
    page = open_page(system.account("viewer", Role.VIEWER))
    _check(page, choice, getattr(images, image))
    _expect_result(page)
    with page.expect_download() as started:
        page.get_by_role("link", name="Download the report").click()
    report = dcmread(BytesIO(_first_dicom(Path(started.value.path()))))
    assert report.Modality == "SR"


def _first_dicom(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])


def test_a_png_that_is_dropped_on_the_page_is_checked(open_page: OpenPage, system: System, images: Images) -> None:
    page = open_page(system.account("viewer", Role.VIEWER))
    page.goto("/checks")
    content = list(images.knee_png.read_bytes())
    transfer = page.evaluate_handle(
        """content => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(content)], "knee.png", {type: "image/png"})); return data; }""",
        content,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#chosen")).to_contain_text("knee.png")
    page.get_by_role("radio", name=re.compile("knee", re.IGNORECASE)).check()
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible(timeout=60_000)
    _expect_result(page)


def test_several_files_are_one_check_and_stay_out_of_the_archive(
    open_page: OpenPage, system: System, images: Images
) -> None:
    page = open_page(system.account("viewer", Role.VIEWER))
    before = len(system.orthanc.studies())
    _check(page, "detect", images.knee_real, images.lung_fake)
    expect(page.get_by_role("region", name="Images", exact=True).get_by_role("row")).to_have_count(3)
    assert len(system.orthanc.studies()) == before


def test_what_is_no_image_is_refused_in_words(open_page: OpenPage, system: System, tmp_path: Path) -> None:
    page = open_page(system.account("viewer", Role.VIEWER))
    page.watch.expected |= {400, 413, 415, 422}
    bad = tmp_path / "picture.svg"
    bad.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    page.goto("/checks")
    page.get_by_label("Choose files").set_input_files(bad)
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.locator("#upload-outcome")).to_contain_text("picture.svg")
