"""Plots: what is drawn is what was given, and names of any kind are only text in it."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from medfake_pacs.console.queries.drift import Reference, in_words, is_drift, largest_difference
from medfake_pacs.console.rendering.charts import About, Bar, Series, bars, histograms, key, nice, stacked_bars, ticks

ABOUT = About(name="plot", title='<b>"Studies"', description="What & why")
HOSTILE = '"/><script>alert(1)</script>'


def _rectangles(tree: ElementTree.Element) -> list[ElementTree.Element]:
    return [each for each in tree.findall("rect") if each.find("title") is not None]


def test_pieces_of_a_bar_are_as_high_as_their_values_and_stand_on_each_other() -> None:
    series = [
        Series(label="real", colour="real", shape="plain", values=[30, 0]),
        Series(label="fake", colour="fake", shape="stripes", values=[10, 20]),
    ]
    tree = ElementTree.fromstring(stacked_bars(ABOUT, ["Monday", "Tuesday"], series))
    first, second, third = _rectangles(tree)
    height = {each: float(each.get("height", 0)) for each in (first, second, third)}
    assert height[first] == pytest.approx(3 * height[second], rel=0.02)
    assert height[third] == pytest.approx(2 * height[second], rel=0.02)
    assert float(second.get("y", 0)) + height[second] == pytest.approx(float(first.get("y", 0)), abs=0.2)
    assert [each.findtext("title") for each in (first, second, third)] == [
        "Monday: real 30", "Monday: fake 10", "Tuesday: fake 20",
    ]  # fmt: skip
    assert first.get("fill") is None
    pattern = tree.find("defs/pattern")
    assert pattern is not None
    assert second.get("fill") == f"url(#{pattern.get('id')})"


def test_bars_are_as_long_as_their_values_and_say_them() -> None:
    tree = ElementTree.fromstring(bars(ABOUT, [Bar(label="A", value=1200), Bar(label="B", value=300)]))
    first, second = (float(each.get("width", 0)) for each in _rectangles(tree))
    assert first == pytest.approx(4 * second)
    assert [each.text for each in tree.findall("text")] == ["A", "1,200", "B", "300"]


def test_a_plot_of_nothing_is_still_a_plot() -> None:
    empty = Series(label="real", colour="real", shape="plain", values=[0, 0])
    for drawing in (
        stacked_bars(ABOUT, ["Monday", "Tuesday"], [empty]),
        stacked_bars(ABOUT, [], []),
        bars(ABOUT, []),
        bars(ABOUT, [Bar(label="A", value=0)]),
        histograms(ABOUT, (0.0, 1.0, 2.0), empty, empty),
    ):
        assert _rectangles(ElementTree.fromstring(drawing)) == []


def test_whoever_does_not_see_a_plot_is_told_what_it_is_and_names_are_only_text() -> None:
    series = [Series(label=HOSTILE, colour="1", shape="grid", values=[1.0])]
    about = About(name="plot", title=HOSTILE, description=HOSTILE)
    drawings = (stacked_bars(about, [HOSTILE], series), bars(about, [Bar(label=HOSTILE, value=1)]))
    for drawing in (*drawings, key(about, series, line=series[0]), histograms(about, (0, 1), series[0], series[0])):
        assert "<script" not in drawing
        assert "style=" not in drawing
        tree = ElementTree.fromstring(drawing)
        if tree.get("role") == "img":
            assert tree.findtext("title") == HOSTILE
            ids = {each.get("id") for each in tree.iter()}
            assert {tree.get("aria-labelledby"), tree.get("aria-describedby")} <= ids
        else:
            assert tree.get("aria-hidden") == "true"


@pytest.mark.parametrize("highest", [0, 0.013, 0.2, 1, 3, 7, 99, 100, 101, 12_345_678])
def test_a_scale_starts_at_zero_has_round_steps_and_holds_the_highest(highest: float) -> None:
    found = ticks(highest)
    assert found[0] == 0
    assert found[-1] >= highest
    assert len(found) <= 6
    steps = [after - before for before, after in pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps))


def test_labels_along_an_axis_lie_within_it() -> None:
    assert nice(-1.06, 4.06) == [-1, 0, 1, 2, 3, 4]
    assert nice(2.0, 2.0) == [2.0]


def test_the_difference_is_the_largest_between_the_shares_below_a_score() -> None:
    reference = Reference(quantiles=tuple(at / 50 for at in range(51)), count=200)
    even = [at / 1000 for at in range(1000)]
    assert largest_difference(even, reference) < 0.01
    assert largest_difference([score / 2 for score in even], reference) == pytest.approx(0.5, abs=0.01)
    assert largest_difference([score + 5 for score in even], reference) == 1.0
    assert reference.share_below(-1) == 0
    assert reference.share_below(0.33) == pytest.approx(0.33)
    assert reference.share_below(2) == 1


def test_drift_is_said_where_it_is_more_than_chance_and_enough_to_matter() -> None:
    reference = Reference(quantiles=tuple(at / 50 for at in range(51)), count=200)
    assert not is_drift(0.14, 100_000, 100_000)
    assert not is_drift(0.16, 200, 100)
    assert is_drift(0.16, 2000, 2000)
    narrow = [0.4 + at / 2500 for at in range(500)]
    assert "spread otherwise" in in_words(narrow, reference, largest_difference(narrow, reference))
    low = [at / 5000 for at in range(500)]
    assert "lie lower" in in_words(low, reference, largest_difference(low, reference))
    assert in_words(low, None, None) == "the model card has no distribution of scores to compare with"
