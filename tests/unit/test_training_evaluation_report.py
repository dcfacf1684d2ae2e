"""The report: every number of the table, nothing from elsewhere, and what is bad is said to be bad."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from evaluation_support import context, probe, row, rows_of

from training.evaluation.figures import REFERENCE, line, reference_figure
from training.evaluation.page import page
from training.evaluation.readme import write_readme
from training.evaluation.rows import CLEAN, Row, read_rows, write_rows
from training.evaluation.run import CONTEXT, PAGE, REPORT, ROWS, from_rows
from training.evaluation.series import series_measures
from training.evaluation.summary import plain, summarise

GOOD = {"noise": 4.0, "resample": 4.0, "poisson": 3.0}
STRANGER = {"kind": "phantom", "way": "as it is", "name": "disc", "outside": "blank", "probability": None}


VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})


class Checked(HTMLParser):
    """Collects text and references of a document, and the elements that are open."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.references: list[str] = []
        self.identifiers: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action", "srcset", "poster"):
                self.references.append(value or "")
            if name == "id":
                self.identifiers.append(value or "")
        if tag == "svg":
            self.images.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["title"]):
            self.text += data


def report_of(rows: list[Row], **more: Any) -> dict[str, Any]:
    return summarise(rows, context(**more))


def bar(report: dict[str, Any], beginning: str) -> dict[str, Any]:
    return next(item for item in report["bars"] if item["what"].startswith(beginning))


def test_the_document_is_well_formed_and_asks_for_nothing() -> None:
    rows = [*rows_of(GOOD), *rows_of({"noise": 2.0}, codec="JPEG q90"), *rows_of({"noise": 2.0}, change="resize x0.5")]
    rows += [*rows_of(GOOD, detector="plain", seed=3)]
    found = report_of(
        rows, plain="plain", probes=[probe("border", near_chance=True)], outside=[STRANGER | {"verdict": "fake"}]
    )
    document = page(found)
    checked = Checked(document)
    assert checked.open == []
    assert all(reference.startswith("#") for reference in checked.references)
    assert {reference[1:] for reference in checked.references} <= set(checked.identifiers)
    assert len(checked.identifiers) == len(set(checked.identifiers))
    assert "@import" not in document
    assert not re.search(r"url\((?!#)", document)
    assert "<script" not in document
    assert len(checked.images) == 7
    assert all(image["role"] == "img" and len(image["aria-label"] or "") > 20 for image in checked.images)
    assert "a <source>" in checked.text
    assert "--data 'a & b'" in checked.text


def test_the_documents_numbers_are_those_of_the_json() -> None:
    found = report_of(rows_of(GOOD))
    text = Checked(page(found)).text
    for group in found["groups"].values():
        for key in ("auc", "average_precision", "brier"):
            assert f"{group[key]['value']:.3f}" in text
            assert f"({group[key]['low']:.3f} to {group[key]['high']:.3f})" in text
    for family in found["families"]:
        assert f"{family['called_fake']['value'] * 100:.1f}\N{NO-BREAK SPACE}%" in text
    json.dumps(found, allow_nan=False)


def test_groups_and_matrix_keep_families_never_trained_on_apart() -> None:
    found = report_of(rows_of({"noise": 4.0, "resample": 4.0, "poisson": -1.0}))
    assert found["groups"]["seen"]["auc"]["value"] > 0.99
    assert 0.3 < found["groups"]["never seen"]["auc"]["value"] < 0.7
    assert found["groups"]["never seen"]["fakes"] == 30
    seen = {cell["family"]: cell["seen"] for cell in found["matrix"]["rows"][0]["cells"]}
    assert seen == {"noise": True, "resample": True, "poisson": False}


def test_a_missed_bar_is_shown_as_missed_and_a_met_one_as_met() -> None:
    good, bad = report_of(rows_of(GOOD)), report_of(rows_of({"noise": -0.5, "poisson": -0.5}))
    for beginning in ("AUC, held-out patients, families of", "AUC, held-out patients, families never"):
        assert bar(good, beginning)["met"]
        assert not bar(bad, beginning)["met"]
    count = sum(item["met"] for item in bad["bars"])
    text = Checked(page(bad)).text
    assert text.count("✓ met") == count
    assert text.count("✗ missed") == len(bad["bars"]) - count
    assert f"{count} of the {len(bad['bars'])} bars" in text


def test_what_was_not_measured_misses_its_bar() -> None:
    found = report_of(rows_of({"noise": 4.0}))
    for beginning in ("AUC, held-out patients, families never", "AUC on families never", "images of other kinds"):
        assert not bar(found, beginning)["met"]
        assert bar(found, beginning)["note"] == "not measured"


def test_too_few_clean_images_leave_doubt_about_false_alarms() -> None:
    found = bar(report_of(rows_of(GOOD, patients=20)), "clean held-out images")
    assert found["met"]
    assert found["note"] == "the interval reaches beyond the bar"
    alarms = [*rows_of(GOOD), *(row(CLEAN, 5.0, f"q{number}") for number in range(3))]
    assert not bar(report_of(alarms), "clean held-out images")["met"]


def test_a_probe_that_is_not_near_chance_is_called_out() -> None:
    probes = [probe("thumbnail", near_chance=False, auc=0.81), probe("border", near_chance=True)]
    found = report_of(rows_of(GOOD), probes=probes)
    text = Checked(page(found)).text
    assert "“thumbnail” is not near chance: AUC 0.810" in text
    assert "“border” is not" not in text
    assert not bar(found, "shortcut probe near chance: thumbnail")["met"]
    assert "All 1 shortcut probes are near chance." in report_of(rows_of(GOOD), probes=probes[1:])["sentences"]


def test_a_baseline_that_wins_is_named_where_it_wins() -> None:
    ours = rows_of({"noise": 3.0, "poisson": -1.0})
    theirs = rows_of({"noise": -0.5, "poisson": 3.0}, detector="plain", seed=5)
    found = report_of([*ours, *theirs], plain="plain")
    said = " ".join(found["baselines"]["sentences"])
    assert "plain is better than the model on never seen" in said
    assert "beyond chance" in said
    assert "noise" not in said
    assert not bar(found, "AUC on families never trained on, above")["met"]
    swapped = report_of(
        [
            *rows_of({"noise": 3.0, "poisson": 3.0}),
            *theirs[:0],
            *rows_of({"noise": -0.9, "poisson": -0.9}, detector="plain", seed=5),
        ],
        plain="plain",
    )
    assert found["baselines"]["effort"] == ["plain learnt from 9 whole images in 4 minutes."]
    assert "plain learnt from 9 whole images" in page(found)
    assert swapped["baselines"]["sentences"] == ["plain is nowhere better than the model."]
    assert bar(swapped, "AUC on families never trained on, above")["met"]


def test_an_answer_to_an_image_of_another_kind_misses_the_bar() -> None:
    right = [STRANGER | {"verdict": "indeterminate"}, STRANGER | {"verdict": "not assessed"}]
    assert bar(report_of(rows_of(GOOD), outside=right), "images of other kinds")["met"]
    wrong = bar(report_of(rows_of(GOOD), outside=[*right, STRANGER | {"verdict": "real"}]), "images of other kinds")
    assert (wrong["met"], wrong["count"], wrong["of"]) == (False, 2, 3)


def test_conditions_are_compared_with_the_same_images_untouched() -> None:
    base = rows_of(GOOD)
    grid = [one for one in rows_of({"noise": 4.0}, codec="JPEG q90") if int(one.name[1:]) < 10]
    grid = [row(one.family, 3.0 if one.family == CLEAN else -2.0, one.patient, codec=one.codec) for one in grid]
    rows = report_of([*base, *grid])["robustness"]["rows"]
    assert [one["condition"] for one in rows] == ["untouched", "JPEG q90"]
    assert [one["clean"] for one in rows] == [10, 10]
    assert (rows[0]["clean_fake"]["count"], rows[1]["clean_fake"]["count"]) == (0, 10)
    assert rows[1]["fakes_real"]["value"] == 1
    assert rows[1]["auc"]["value"] == 0


def test_refused_images_are_a_column_of_their_own_and_out_of_the_ranking() -> None:
    found = report_of([*rows_of(GOOD), row(CLEAN, 99.0, "q", outside="blank")])
    verdicts = found["confusion"][0]["verdicts"]
    assert verdicts["outside the domain"]["count"] == 1
    assert sum(verdict["count"] for verdict in verdicts.values()) == found["confusion"][0]["of"] == 31
    assert found["false_alarms"]["count"] == 0
    assert found["groups"]["seen"]["auc"]["value"] > 0.99


def test_the_map_of_a_local_fake_is_held_against_its_mask() -> None:
    cells, truth = ((3.0, -1.0), (-1.0, -1.0)), ((0.9, 0.0), (0.0, 0.0))
    hit = row("noise", 3.0, "p0", cells=cells, truth=truth)
    miss = row("noise", 3.0, "p1", cells=cells, truth=truth[::-1])
    found = report_of([*rows_of({"noise": 3.0}), hit, miss])["localisation"]
    assert found["images"] == 2
    assert found["iou"]["value"] == pytest.approx(0.5)
    assert found["pointing"]["value"] == pytest.approx(0.5)
    assert found["pointing_by_chance"]["value"] == pytest.approx(0.25)
    assert found["cell_auc"]["value"] == pytest.approx(2 / 3, abs=1e-4)


def test_series_are_pooled_over_neighbours_with_the_edited_slices_in_place() -> None:
    def volume(run: str, family: str, scores: list[float], first: int = 0) -> list[Row]:
        return [row(family, score, "a", name=f"s{first + at}", series="1", run=run) for at, score in enumerate(scores)]

    rows = volume("clean", CLEAN, [-2, 9, -2, -2, -2, -2])
    rows += volume("noise 1", "noise", [4, 4, 4], first=3) + volume("noise 2", "noise", [0.5, 0.5], first=4)
    found = series_measures(rows, context()["detectors"][0]["profile"])
    assert found["clean"] == [{"patient": "a", "slices": 6, "score": pytest.approx(5 / 3, abs=1e-3), "verdict": "fake"}]
    calm = [one for one in rows if one.score != 9] + volume("clean", CLEAN, [-2], first=1)
    assert series_measures(calm, context()["detectors"][0]["profile"])["families"][0]["called_fake"]["count"] == 1


def test_the_cards_figures_are_what_a_node_and_a_card_can_read() -> None:
    found = report_of([*rows_of(GOOD), *rows_of({"noise": 2.0}, codec="JPEG q90")])
    figures = {(figure["what"], figure["condition"]): figure for figure in found["figures"]}
    alarms = figures["clean images called fake", "uncompressed"]
    assert (alarms["count"], alarms["of"], alarms["patients"]) == (0, 30, 30)
    assert figures["AUC, all families in training", "uncompressed"]["value"] > 0.99
    assert ("clean images called fake", "JPEG q90") in figures
    assert all(figure["command"].startswith("python -m training evaluate") for figure in found["figures"])
    assert all(line(figure).startswith("| ") for figure in found["figures"])


def test_the_reference_is_the_spread_of_clean_images_inside_the_domain() -> None:
    rows = [row(CLEAN, float(score)) for score in range(101)]
    rows += [row(CLEAN, 1e6, outside="blank"), row("noise", -1e6), row(CLEAN, 1e5, codec="JPEG q90")]
    figure = reference_figure(rows)
    assert (figure["count"], figure["of"], figure["what"]) == (101, 102, REFERENCE)
    assert figure["value"] == 50.0
    assert figure["quantiles"][0] == 0.0
    assert figure["quantiles"][-1] == 100.0
    assert figure["quantiles"] == sorted(figure["quantiles"])


def test_a_report_is_made_again_from_its_rows(tmp_path: Path) -> None:
    rows = [*rows_of(GOOD), row("noise", 1.0, cells=((1.0, 2.0),), truth=((0.0, 1.0),), lossy=True)]
    write_rows(rows, tmp_path / ROWS)
    assert read_rows(tmp_path / ROWS) == rows
    (tmp_path / CONTEXT).write_text(json.dumps(context()), encoding="utf-8")
    made = from_rows(tmp_path, tmp_path / "again")
    assert made["groups"] == report_of(rows)["groups"]
    written = json.loads((tmp_path / "again" / REPORT).read_text(encoding="utf-8"))
    assert written["bars"] == made["bars"]
    assert (tmp_path / "again" / PAGE).read_text(encoding="utf-8") == page(written)
    with (tmp_path / ROWS).open("a") as handle:
        handle.write('{"name": 1}\n')
    with pytest.raises(ValueError, match=f"line {len(rows) + 1}"):
        read_rows(tmp_path / ROWS)


def test_the_readme_says_what_the_report_says(tmp_path: Path) -> None:
    split = {part: {"images": 60, "groups": 50} for part in ("train", "validation", "test")}
    found = report_of(rows_of({"noise": -0.5, "poisson": 3.0}))
    card = {
        "name": "model",
        "version": "1.0",
        "modality": "DX",
        "description": "Knees.",
        "pooling": {"contiguous_k": 1},
        "training": {
            "wall_clock_s": 600,
            "steps": 10,
            "families": ["noise"],
            "held_out_families": ["poisson"],
            "split": split,
        },
        "data": [{"name": "knees", "images": 9, "source": "somewhere", "licence": "CC0"}],
        "figures": found["figures"],
    }
    (tmp_path / "card.json").write_text(json.dumps(card), encoding="utf-8")
    write_readme(tmp_path, tmp_path / "none.readme.md", found)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| AUC, held-out patients, families of the training: ≥ 0.98 | **missed** |" in text
    assert "must not be used for" in text
    assert f"| AUC, all families in training | uncompressed | {found['groups']['seen']['auc']['value']:.3f} |" in text
    (tmp_path / "own.readme.md").write_text("{name}: {short}", encoding="utf-8")
    write_readme(tmp_path, tmp_path / "own.readme.md", found)
    assert (tmp_path / "README.md").read_text(encoding="utf-8").startswith("model: - On 30 fakes")


def test_a_model_that_refuses_or_decides_nothing_has_a_report_too() -> None:
    refused = [row(family, 0.0, f"p{at}", outside="blank") for at in range(4) for family in (CLEAN, "noise")]
    found = report_of(refused)
    assert found["groups"]["seen"]["auc"]["value"] is None
    assert found["groups"]["seen"]["auc_of_all"]["value"] == 0.5
    assert found["confusion"][0]["verdicts"]["outside the domain"]["count"] == 4
    assert not bar(found, "AUC, held-out patients, families of")["met"]
    undecided = report_of([row(family, 0.2, f"p{at}") for at in range(4) for family in (CLEAN, "noise")])
    assert undecided["groups"]["seen"]["accuracy_of_decided"]["value"] is None
    assert undecided["groups"]["seen"]["precision"]["value"] is None
    for report in (found, undecided):
        assert Checked(page(plain(report))).open == []


def test_a_data_set_with_its_own_fakes_is_held_against_its_own_real_images() -> None:
    theirs = [row(CLEAN, 5.0, f"q{at}", source="ct-gan") for at in range(9)]
    theirs += [row("ct-gan", 6.0, f"q{at}", source="ct-gan") for at in range(9)]
    found = report_of([*rows_of(GOOD), *theirs])
    (entry,) = found["brought"]
    assert (entry["source"], entry["clean"], entry["fakes"], entry["auc"]["value"]) == ("ct-gan", 9, 9, 1.0)
    assert entry["false_alarms"]["count"] == 9
    assert found["false_alarms"]["count"] == 0
    assert "ct-gan" not in {family["family"] for family in found["families"]}
    assert "ct-gan: 9 real images, 9 fakes" in Checked(page(found)).text
