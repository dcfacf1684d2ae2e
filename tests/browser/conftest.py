"""Fixtures of the tests that drive Chromium against a whole node."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests import material
from tests.browser.chromium import launch, sign_in
from tests.browser.images import Images, copies, make_images
from tests.browser.system import Account, System, running_system
from tests.browser.watching import Watch
from tests.integration.conftest import model_cache
from tests.support import wait_for

__all__ = ["model_cache"]
TIMEOUT_MS = 30_000
expect.set_options(timeout=TIMEOUT_MS)
OpenPage = Callable[..., Page]
# On every module: one process runs all of them, so that they share one node and one browser.
ALONE = pytest.mark.serial


# Of the package, not the session: Playwright's event loop must be gone before other tests run one.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Yield a headless Chromium."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Iterator[System]:
    """Yield a node that runs, with an Orthanc as its archive."""
    with running_system(tmp_path_factory.mktemp("browser"), model_cache) as running:
        yield running


@pytest.fixture(scope="package")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Return files to upload."""
    return make_images(tmp_path_factory.mktemp("images") / "made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Studies that came by C-STORE and have their verdicts: Study Instance UIDs."""

    ct: str
    knee: str


@pytest.fixture(scope="package")
def sent(system: System, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Send a CT series and a radiograph with DCMTK's storescu, and wait until their reports are in the archive."""
    series, radiograph = copies(images.lung_real, 3), material.radiograph()
    system.storescu(*material.save([*series, radiograph], tmp_path_factory.mktemp("sent")))
    studies = Sent(ct=series[0].StudyInstanceUID, knee=radiograph.StudyInstanceUID)
    for study in (studies.ct, studies.knee):
        wait_for(lambda uid=study: list(system.orthanc.reports_of(uid)), 90, "the report in the archive")
    return studies


@pytest.fixture
def open_page(chromium: Browser, system: System) -> Iterator[OpenPage]:
    """Yield a function that opens a page in a browser profile of its own, signed in as an account if one is given.

    At the end the test fails if any page did what none may: see ``Watch``. ``page.watch.expected`` holds the
    statuses that the test provokes.
    """
    opened: list[tuple[BrowserContext, Watch]] = []

    def open_it(who: Account | None = None, *, url: str = "", width: int = 1280, height: int = 800, **options: object):
        context = chromium.new_context(
            base_url=url or system.url,
            viewport={"width": width, "height": height},
            accept_downloads=True,
            **options,  # type: ignore[arg-type]
        )
        context.set_default_timeout(TIMEOUT_MS)
        watch = Watch(context, url or system.url)
        opened.append((context, watch))
        page = context.new_page()
        page.watch = watch  # type: ignore[attr-defined]
        if who:
            sign_in(page, who)
        return page

    yield open_it
    faults = [fault for _, watch in opened for fault in watch.faults]
    for context, _ in opened:
        context.close()
    assert not faults, "\n".join(faults)
