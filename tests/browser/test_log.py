"""The log: searched, exported with hashes that hold, checked."""

import csv
import hashlib
import json
from pathlib import Path

from playwright.sync_api import Page, expect

from medfake_pacs.console.security.permissions import Role
from tests.browser.conftest import ALONE, OpenPage, Sent
from tests.browser.system import System

pytestmark = ALONE


def _export(page: Page, button: str) -> str:
    with page.expect_download() as started:
        page.get_by_role("link", name=button).click()
    return Path(started.value.path()).read_text(encoding="utf-8")


def test_what_a_search_finds_is_exported_with_hashes_that_hold(open_page: OpenPage, system: System, sent: Sent) -> None:
    page = open_page(system.account("auditor", Role.AUDITOR))
    page.goto("/log")
    page.get_by_role("search").get_by_label("Study", exact=False).first.fill(sent.ct)
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("region", name="Rows of the log").get_by_role("row").nth(1)).to_be_visible()

    lines = _export(page, "Export JSONL").splitlines()
    rows = [json.loads(line) for line in lines]
    assert {"instance-received", "study-verdict", "report-created"} <= {row["event"]["kind"] for row in rows}
    assert {row["event"]["study_instance_uid"] for row in rows} == {sent.ct}
    for line, row in zip(lines, rows, strict=True):
        event = line[len('{"event":') : line.rindex(',"hash":"')]
        assert hashlib.sha256(f"{row['previous_hash']}\n{event}".encode()).hexdigest() == row["hash"]

    table = list(csv.DictReader(_export(page, "Export CSV").splitlines()))
    hashes = {row["event"]["seq"]: row["hash"] for row in rows}
    # The first export is itself a row of the log, but not one of this study's.
    assert {int(line["seq"]): line["hash"] for line in table} == hashes


def test_one_click_checks_the_whole_chain(open_page: OpenPage, system: System, sent: Sent) -> None:
    page = open_page(system.account("auditor", Role.AUDITOR))
    page.goto("/log")
    page.get_by_role("button", name="Check the log").click()
    expect(page.locator("#check .message-good")).to_be_visible()


def test_counts_are_drawn(open_page: OpenPage, system: System, sent: Sent) -> None:
    page = open_page(system.account("auditor", Role.AUDITOR))
    page.goto("/statistics")
    expect(page.locator("main svg[role=img], main figure svg").first).to_be_visible()
