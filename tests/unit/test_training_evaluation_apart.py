"""Bars and figures that keep things apart: slices and series, scored and refused images, published and cleaned ones."""

from dataclasses import replace
from typing import Any

import pytest
from evaluation_support import context, row, rows_of

from tests.unit.test_training_evaluation_report import GOOD, Checked, bar, report_of
from training.evaluation.page import page
from training.evaluation.rows import CLEAN, Row
from training.evaluation.series import series_measures
from training.evaluation.summary import summarise


def test_a_refused_fake_is_a_missed_one_for_the_bars() -> None:
    refused = [row("noise", 9.0, f"p{number}", outside="blank") for number in range(30)]
    found = report_of([*rows_of({"noise": 4.0}), *refused])
    group = found["groups"]["seen"]
    assert group["auc"]["value"] > 0.99
    assert (group["scored"], group["of"]) == (60, 90)
    assert group["auc_of_all"]["value"] == pytest.approx(group["auc"]["value"] / 2, abs=1e-3)
    held = bar(found, "AUC, held-out patients, families of")
    assert not held["met"]
    assert "30 of 90 images refused" in held["note"]
    assert "30 of 90 images are refused" in Checked(page(found)).text
    assert found["families"][0]["auc_of_all"] == group["auc_of_all"]
    clean = report_of([*rows_of({"noise": 4.0}), row(CLEAN, 9.0, "p0", outside="blank")])
    assert clean["groups"]["seen"]["auc_of_all"]["value"] > 0.99


def test_the_plain_network_is_compared_on_refused_images_too() -> None:
    ours = [replace(one, outside="blank") if one.fake and int(one.patient[1:]) < 20 else one for one in rows_of(GOOD)]
    theirs = rows_of({"noise": 1.0, "resample": 1.0, "poisson": 1.0}, detector="plain", seed=5)
    assert not bar(report_of([*ours, *theirs], plain="plain"), "AUC on families never trained on, above")["met"]


def volumes(patients: int, *, edited: float) -> list[Row]:
    """A clean series of each patient and an edit of it by each of two families, well apart."""
    found = []
    for number in range(patients):
        about = {"series": "1", "lung_fraction": 1.0}
        for run, family, score in ((CLEAN, CLEAN, -2.0), ("a 1", "noise", edited), ("b 1", "poisson", edited)):
            found += [
                row(family, score, f"v{number}", name=f"v{number}/{at}", run=run, **about)
                for at in range(6 if run == CLEAN else 3)
            ]
    return found


def ct_report(rows: list[Row]) -> dict[str, Any]:
    given = context()
    return summarise(rows, given | {"evaluated": given["evaluated"] | {"configuration": "lung-ct"}})


def test_bars_of_a_ct_model_tell_slices_from_series_and_few_series_are_not_enough() -> None:
    few = ct_report([*rows_of(GOOD), *volumes(2, edited=5.0)])
    slices = bar(few, "AUC of single slices, held-out patients, families of the training")
    assert slices["met"]
    assert bar(few, "clean held-out single slices called fake")["met"]
    for beginning in (
        "AUC of series, held-out patients, families of",
        "AUC of series, held-out patients, families nev",
    ):
        held = bar(few, beginning)
        assert (held["value"], held["met"]) == (1.0, False)
        assert held["low"] < 0.5
        assert "n = 2 clean series of 2 patients" in held["note"]
    assert not bar(few, "clean series called fake")["met"]
    many = ct_report([*rows_of(GOOD), *volumes(400, edited=5.0)])
    assert bar(many, "AUC of series, held-out patients, families of")["met"]
    assert bar(many, "clean series called fake")["met"]
    bad = ct_report([*rows_of(GOOD), *volumes(400, edited=-2.0)])
    assert bar(bad, "AUC of series, held-out patients, families of")["value"] == 0.5
    assert not bar(bad, "AUC of series, held-out patients, families of")["met"]
    assert bar(ct_report(rows_of(GOOD)), "AUC of series")["note"] == "not measured"
    assert not any("series" in item["what"] or "slices" in item["what"] for item in report_of(rows_of(GOOD))["bars"])
    assert "n = 2 clean series" in Checked(page(few)).text


def test_published_and_cleaned_images_are_shown_apart_and_are_one_patient() -> None:
    published = rows_of(GOOD)
    cleaned = [replace(one, name=f"{one.name} (cleaned)", score=-one.score, verdict="fake") for one in published]
    found = report_of([*published, *cleaned])
    by_name = {(one["variant"], one["group"]): one for one in found["variants"]}
    assert by_name["as published", "seen"]["false_alarms"]["count"] == 0
    assert by_name["cleaned", "seen"]["false_alarms"]["count"] == 30
    assert by_name["as published", "never seen"]["auc"]["value"] > 0.99
    assert by_name["cleaned", "never seen"]["auc"]["value"] < 0.01
    assert (found["false_alarms"]["count"], found["false_alarms"]["of"]) == (30, 60)
    assert (found["groups"]["seen"]["patients"], found["false_alarms"]["patients"]) == (30, 30)
    assert report_of(published)["variants"] == []
    figures = {(one["what"], one["condition"]): one for one in found["figures"]}
    assert figures["clean images called fake", "cleaned"]["value"] == 1
    assert figures["AUC, all families held out of training", "as published"]["value"] > 0.99
    assert "without their source" in Checked(page(found)).text


def test_published_and_cleaned_slices_are_two_series() -> None:
    published = volumes(1, edited=5.0)
    cleaned = [replace(one, name=f"{one.name} (cleaned)", score=one.score + 0.1) for one in published]
    found = series_measures([*published, *cleaned], context()["detectors"][0]["profile"])
    assert [(one["slices"], one["score"]) for one in found["clean"]] == [(6, -2.0), (6, -1.9)]
    assert [family["called_fake"]["of"] for family in found["families"]] == [2, 2]
