"""Pictures of the console for people: `python -m tests.browser.screenshots FOLDER` (`make screenshots`).

A node starts, gets drawn images (nobody's), and each page is pictured on a desktop and on a phone, light and dark.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from medfake_pacs.demo.forgery import manipulated_copy
from tests import material
from tests.browser import phantoms
from tests.browser.chromium import launch, sign_in
from tests.browser.system import EVERY_ROLE, Account, System, running_system
from tests.integration.conftest import CONVERT
from tests.support import REPOSITORY

_SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
_SLICES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the pictures need to know of what is on the node."""

    account: Account
    study: str
    check: str


def populate(system: System, browser: Browser, folder: Path) -> Shown:
    """Send drawn studies to the node, upload one, and wait for the verdicts."""
    ada = phantoms.chest_series(_SLICES, patient="P-1041", name="Phantom^Ada", accession="A-7001", seed=1)
    ben = phantoms.chest_series(
        _SLICES, patient="P-1042", name="Phantom^Ben", accession="A-7002", seed=2, nodules=(5, 6, 7, 8)
    )
    cleo = phantoms.knee(patient="P-1043", name="Phantom^Cleo", accession="A-7003", seed=3)
    dora = manipulated_copy(
        phantoms.knee(patient="P-1044", name="Phantom^Dora", accession="A-7004", seed=4), "nodule", 4
    )
    emil = phantoms.chest_series(4, patient="P-1045", name="Phantom^Emil", accession="A-7005", seed=5)
    fay = phantoms.knee(patient="P-1046", name="Phantom^Fay", accession="A-7006", seed=6)
    fay.Modality = "OT"  # no route takes it
    for datasets, calling in (
        (ada, "PACS1"),
        ([cleo], "PACS1"),
        ([dora], "ORTHANC"),
        ([fay], "PACS1"),
        (emil, "CLINIC"),
        (ben, "PACS1"),
        ([material.with_one_pixel_changed(ben[3])], "PACS1"),
    ):
        assert set(material.send(system.node.port, datasets, calling=calling)) == {0}
    system.node.wait_idle(2 * _SLICES + 8, timeout_s=240)
    account = system.account("dr-example", *EVERY_ROLE)
    system.account("m-viewer", EVERY_ROLE[0])
    system.account("k-auditor", EVERY_ROLE[2])
    upload = phantoms.chest_series(3, patient="P-2001", name="Phantom^Gil", accession="", seed=7, nodules=(0, 1, 2))
    check = _upload(browser, system, account, material.save(upload, folder / "upload"))
    return Shown(account=account, study=ben[0].StudyInstanceUID, check=check)


def _upload(browser: Browser, system: System, account: Account, paths: list[Path]) -> str:
    context = browser.new_context(base_url=system.url)
    page = context.new_page()
    sign_in(page, account)
    page.goto("/checks")
    page.locator("input[type=file]").first.set_input_files(paths)
    page.get_by_role("button", name="Check", exact=False).first.click()
    page.wait_for_url("**/checks/*")
    page.locator(".verdict:not(.verdict-in-progress)").first.wait_for(timeout=120_000)
    address = page.url
    context.close()
    return address.removeprefix(system.url)


def take(browser: Browser, url: str, shown: Shown, folder: Path, only: str = "") -> None:
    """Picture each page in each size and theme."""
    folder.mkdir(parents=True, exist_ok=True)
    addresses = {
        "worklist": "/worklist",
        "study": f"/studies/{shown.study}",
        "check": shown.check,
        "checks": "/checks",
        "log": "/log",
        "statistics": "/statistics",
        "node": "/node",
        "deliveries": "/node/deliveries",
        "accounts": "/accounts",
        "account": "/account",
    }
    for size, (width, height) in _SIZES.items():
        for theme in ("light", "dark"):
            context = browser.new_context(
                base_url=url,
                viewport={"width": width, "height": height},
                color_scheme=theme,  # type: ignore[arg-type]
                reduced_motion="reduce",
            )
            page = context.new_page()
            if not only or only == "sign-in":
                page.goto("/sign-in")
                _save(page, folder / f"sign-in-{size}-{theme}.png")
            sign_in(page, shown.account)
            for name, address in addresses.items():
                if only and name != only:
                    continue
                page.goto(address)
                page.wait_for_load_state("networkidle")
                _save(page, folder / f"{name}-{size}-{theme}.png")
            context.close()


def _save(page: Page, path: Path) -> None:
    """Save what the window shows, with few enough colours to be a small file."""
    page.screenshot(path=path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main(arguments: list[str]) -> int:
    """Take every picture, or those of one page."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", metavar="PAGE")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="medfake-pictures-") as scratch, sync_playwright() as playwright:
        cache = Path(os.environ.get("MEDFAKE_TEST_MODEL_CACHE") or Path(scratch) / "models")
        cache.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-c", CONVERT, str(cache)], check=True, cwd=REPOSITORY)
        browser = launch(playwright)
        with running_system(Path(scratch) / "system", cache / "cache") as system:
            shown = populate(system, browser, Path(scratch))
            take(browser, system.url, shown, given.folder, given.only)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
