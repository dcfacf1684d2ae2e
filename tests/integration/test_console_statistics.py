"""Counts by day, verdict, model and source; drift of scores; studies without a verdict."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import sqlalchemy as sa

from medfake_pacs.classifier.bundle import model_digest
from medfake_pacs.console.queries.drift import installed_cards, reference_of
from medfake_pacs.console.security.permissions import Role
from medfake_pacs.database import transaction
from medfake_pacs.database.tables import instances, revisions, scores, studies
from tests.console_support import ConsoleServer, console_settings, running_console

DAY_S = 86_400.0
NOON = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


@pytest.fixture
def console(tmp_path: Path, database_url: str) -> Iterator[ConsoleServer]:
    """Yield a console on an empty node."""
    with running_console(console_settings(tmp_path, database_url)) as running:
        yield running


def _study(uid: str, received_at: float, **values: object) -> dict[str, object]:
    return {
        "study_instance_uid": uid,
        "first_received_at": received_at,
        "last_received_at": received_at,
        "calling_ae_title": "CT1",
        "patient_id": "P1",
        "modality": "CT",
        **values,
    }


def _insert(console: ConsoleServer, table: sa.Table, *rows: dict[str, object]) -> None:
    with transaction(console.engine) as connection:
        for row in rows:
            connection.execute(sa.insert(table).values(row))


def test_studies_are_counted_by_day_verdict_model_and_source(console: ConsoleServer) -> None:
    assessed = {"model_name": "lung-ct", "verdict_at": NOON}
    _insert(
        console,
        studies,
        _study("1.1", NOON - 5 * DAY_S, verdict="fake", **assessed),
        _study("1.2", NOON - 5 * DAY_S + DAY_S - 1, verdict="real", calling_ae_title='<b>"X"', **assessed),
        _study("1.3", NOON - 4 * DAY_S, verdict="not assessed", verdict_at=NOON),
        _study("1.4", NOON),
        _study("1.5", NOON - 40 * DAY_S, verdict="real", **assessed),
    )
    found = console.with_token(Role.AUDITOR).get("/api/statistics").json()
    assert found["studies"] == 4
    of_day = {day["day"]: day["by_verdict"] for day in found["by_day"]}
    assert len(of_day) == 30
    five_days_ago = (datetime.fromtimestamp(NOON, UTC) - timedelta(days=5)).date().isoformat()
    assert (of_day[five_days_ago]["fake"], of_day[five_days_ago]["real"]) == (1, 1)
    assert {each["name"]: each["studies"] for each in found["by_verdict"]} == {
        "real": 1, "fake": 1, "indeterminate": 0, "not assessed": 1, "in progress": 1,
    }  # fmt: skip
    assert {each["name"]: each["studies"] for each in found["by_model"]} == {"lung-ct": 2, "no model, or several": 1}
    assert {each["name"]: each["studies"] for each in found["by_source"]} == {"CT1": 3, '<b>"X"': 1}
    page = console.signed_in(Role.AUDITOR).get("/statistics").text
    assert "4 studies were received" in page
    assert "<b>" not in page
    drawings = re.findall(r"<svg class=\"chart[^>]*role.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 4
    for drawing in drawings:
        tree = ElementTree.fromstring(drawing)
        assert tree.get("role") == "img"
        assert tree[0].tag == "title"
        assert tree[1].tag == "desc"
    assert "style=" not in page
    assert page.count("The same as a table") == 4
    cells = re.search(rf'<tr><th scope="row">{five_days_ago}</th>(.*?)</tr>', page)
    assert cells
    assert re.findall(r">(\d+)<", cells[1]) == ["1", "1", "0", "0", "0", "2"]


def test_days_that_make_no_sense_are_refused_next_to_the_field(console: ConsoleServer) -> None:
    auditor = console.signed_in(Role.AUDITOR)
    wrong = (
        ("since", "yesterday", "no ISO date"),
        ("since", "2020-01-01", "366 days are counted at most"),
        ("until", "0001-01-01", "beyond"),
        ("until", "9999-12-31", "beyond"),
        ("since", "2999-01-01", "after the last day"),
    )
    for name, value, words in wrong:
        answer = auditor.get("/statistics", params={name: value})
        assert answer.status_code == 422, (name, value)
        assert words in answer.text
    token = console.with_token(Role.AUDITOR)
    answer = token.get("/api/statistics", params={"since": "yesterday"})
    assert answer.status_code == 422
    assert "since" in answer.json()["fields"]
    assert auditor.get("/statistics", params={"since": "2019-01-01", "until": "2019-12-31"}).status_code == 200


def _scored(
    console: ConsoleServer, digest: str, values: list[float], prefix: str, outside: str = "", *, received: bool = True
) -> None:
    frame = {"frame": 1, "outside_domain": outside, "regions": []}
    rows = [
        {
            "pixel_sha256": f"{prefix}{number:063d}",
            "model_sha256": digest,
            "frames": [{**frame, "score": float(value)}],
            "engine": "test",
            "scored_at": time.time(),
        }
        for number, value in enumerate(values)
    ]
    with transaction(console.engine) as connection:
        connection.execute(sa.insert(scores), rows)
        if received:
            connection.execute(sa.insert(instances), [_received(row) for row in rows])


def _received(score: dict[str, Any]) -> dict[str, Any]:
    """Return the row of the image that was received with the pixels of a score."""
    uid = f"1.2.{score['pixel_sha256'][:1].encode().hex()}.{int(score['pixel_sha256'][1:])}"
    return {
        **dict.fromkeys(("sop_instance_uid", "sop_class_uid", "study_instance_uid", "series_instance_uid"), uid),
        **dict.fromkeys(("transfer_syntax_uid", "path", "calling_ae_title", "called_ae_title", "host"), "x"),
        "content_sha256": score["pixel_sha256"],
        "pixel_sha256": score["pixel_sha256"],
        "model_sha256": score["model_sha256"],
        "size_bytes": 1,
        "received_at": time.time(),
        "state": "done",
    }


def test_drift_is_said_of_scores_that_lie_elsewhere_than_the_cards(console: ConsoleServer) -> None:
    cards = {card.name: card for card in installed_cards(console.settings)}
    knee, lung = cards["knee-xr"], cards["lung-ct"]
    reference = reference_of(knee)
    assert reference
    rng = np.random.default_rng(1)
    like_the_card = np.interp(rng.uniform(0, 1, 400), np.linspace(0, 1, len(reference.quantiles)), reference.quantiles)
    _scored(console, model_digest(knee), list(like_the_card), "a")
    _scored(console, model_digest(knee), [99.0] * 30, "b", outside="blank")
    _scored(console, model_digest(lung), [5.0] * 50, "c")
    # What people uploaded to be checked says nothing of what is received.
    _scored(console, model_digest(lung), [9.0] * 300, "e", received=False)
    _scored(console, model_digest(knee), [9.0] * 300, "f", received=False)
    token = console.with_token(Role.AUDITOR)
    found = {each["model"]: each for each in token.get("/api/statistics").json()["drift"]}
    assert found["knee-xr"]["text"].startswith("no drift seen")
    assert (found["knee-xr"]["images"], found["knee-xr"]["outside_domain"]) == (400, 30)
    assert found["lung-ct"]["text"] == "too few images to tell: 50 of the 200 that it takes"
    _scored(console, model_digest(lung), list(rng.normal(5, 0.3, 300)), "d")
    found = {each["model"]: each for each in token.get("/api/statistics").json()["drift"]}
    assert found["lung-ct"]["drifted"] is True
    assert "the scores lie higher than those of the clean images" in found["lung-ct"]["text"]
    page = console.signed_in(Role.AUDITOR).get("/statistics").text
    assert "no drift seen" in page
    assert "the scores lie higher" in page
    assert "30 of the newest 430 images were outside" in page


def test_studies_without_a_verdict_are_listed_with_the_reason(console: ConsoleServer) -> None:
    long_ago = time.time() - DAY_S
    _insert(
        console,
        studies,
        _study("1.1", long_ago, opened_at=long_ago),
        _study("1.2", long_ago, revision=1),
        _study("1.3", long_ago, revision=1),
        _study("1.4", time.time(), opened_at=time.time()),
        _study("1.5", long_ago, revision=1, verdict="real", verdict_revision=1),
        # Its second revision waits; its verdict is on the first.
        _study("1.6", long_ago, revision=2, verdict="real", verdict_revision=1),
        _study("1.7", long_ago, last_received_at=time.time(), revision=2, verdict="real", verdict_revision=1),
    )
    revision = {"revision": 1, "completed_at": long_ago, "trigger": "quiet", "last_received_at": long_ago}
    _insert(console, revisions, {"study_instance_uid": "1.2", "attempts": 3, **revision})
    _insert(console, revisions, {"study_instance_uid": "1.3", "attempts": 0, **revision})
    _insert(console, revisions, {"study_instance_uid": "1.6", **revision, "revision": 2, "attempts": 7})
    _insert(console, instances, _instance("1.3", long_ago))
    page = console.signed_in(Role.AUDITOR).get("/statistics").text
    listed = dict(re.findall(r'href="/studies/([\d.]+)".*?<td>([^<]*)</td>\s*</tr>', page, re.DOTALL))
    assert set(listed) == {"1.1", "1.2", "1.3", "1.6"}
    assert listed["1.1"].startswith("still open")
    assert listed["1.2"].startswith("assessing it failed 3 times")
    assert listed["1.6"].startswith(
        "the verdict that it has is on an older revision (real); assessing it failed 7 times; it is tried again"
    )
    assert "longest, 4 in all." in page
    assert listed["1.3"] == "being scored: 1 images wait"


def test_a_list_that_is_cut_says_so(console: ConsoleServer) -> None:
    long_ago = time.time() - DAY_S
    _insert(console, studies, *(_study(f"1.{number}", long_ago, opened_at=long_ago) for number in range(51)))
    page = console.signed_in(Role.AUDITOR).get("/statistics").text
    assert "50 shown, there are more." in page


def _instance(study: str, received_at: float) -> dict[str, object]:
    return {
        "sop_instance_uid": f"{study}.1",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "study_instance_uid": study,
        "series_instance_uid": f"{study}.0",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "content_sha256": "a" * 64,
        "size_bytes": 1,
        "path": "x",
        "calling_ae_title": "CT1",
        "called_ae_title": "MEDFAKE",
        "host": "127.0.0.1",
        "received_at": received_at,
        "revision": 1,
        "state": "queued",
    }


def test_an_empty_node_says_so(console: ConsoleServer) -> None:
    page = console.signed_in(Role.AUDITOR).get("/statistics").text
    assert "No study was received" in page
    assert "has its verdict." in page
    assert re.search(r"too few images to tell</span>\s*0 of the 200 that it takes", page)
