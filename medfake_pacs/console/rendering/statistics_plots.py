"""The plots of the statistics page."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from medfake_pacs.console.queries.drift import Drift
from medfake_pacs.console.queries.statistics import LABELS, Statistics
from medfake_pacs.console.rendering.charts import About, Bar, Series, bars, histograms, key, stacked_bars

_BARS = 12
_FILLS = {
    "real": ("real", "plain"),
    "fake": ("fake", "stripes"),
    "indeterminate": ("indeterminate", "dots"),
    "not assessed": ("not-assessed", "lines"),
    "in progress": ("none", "grid"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One plot with the words for its colours (empty if it needs none) and the same as a table."""

    title: str
    picture: Markup
    key: Markup
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def by_day(statistics: Statistics) -> Plot:
    """Return studies by day of reception, stacked by verdict."""
    series = []
    for at, label in enumerate(LABELS):
        colour, shape = _FILLS[label]
        values = [counts[at] for _, counts in statistics.by_day]
        series.append(Series(label=label, colour=colour, shape=shape, values=values))
    about = About(
        name="by-day",
        title="Studies by day",
        description=f"Bars of studies received on each day, {_period(statistics)}, stacked by verdict: "
        + ", ".join(f"{label} {count}" for label, count in statistics.by_verdict)
        + " in all.",
    )
    days = [day.strftime("%d %b") for day, _ in statistics.by_day]
    rows = [(day.isoformat(), *map(str, counts), str(sum(counts))) for day, counts in statistics.by_day]
    return Plot(
        title=about.title,
        picture=stacked_bars(about, days, series),
        key=key(about, series),
        headings=("day (UTC)", *LABELS, "all"),
        rows=tuple(rows),
    )


def by_verdict(statistics: Statistics) -> Plot:
    """Return studies by verdict."""
    items = []
    for label, count in statistics.by_verdict:
        colour, shape = _FILLS[label]
        items.append(Bar(label=label, value=count, colour=colour, shape=shape))
    return _bars("by-verdict", "Studies by verdict", "verdict", items, statistics)


def by_model(statistics: Statistics) -> Plot:
    """Return assessed studies by model."""
    items = [Bar(label=name, value=count, colour="3") for name, count in statistics.by_model]
    return _bars("by-model", "Assessed studies by model", "model", items, statistics)


def by_source(statistics: Statistics) -> Plot:
    """Return studies by the AE title that sent them."""
    items = [Bar(label=name, value=count, colour="1") for name, count in statistics.by_source]
    return _bars("by-source", "Studies by source", "calling AE title", items, statistics)


def of_drift(found: Drift) -> Plot | None:
    """Return the spread of a model's scores beside that of its card; None where there is nothing to draw."""
    if not found.edges:
        return None
    new = Series(label=f"newest images ({found.count})", colour="1", shape="plain", values=found.shares)
    reference = Series(
        label=f"clean test images of the card ({found.reference_count})",
        colour="2", shape="plain", values=found.reference_shares,
    )  # fmt: skip
    about = About(
        name=f"drift-{found.model_sha256[:12]}",
        title=f"Scores of {found.model} {found.version}",
        description=f"Share of images by score (logit; higher leans to fake). {found.text.capitalize()}.",
    )
    rows = [
        (f"{low:.2f} to {high:.2f}", f"{ours:.1%}", f"{theirs:.1%}")
        for low, high, ours, theirs in zip(
            found.edges, found.edges[1:], found.shares, found.reference_shares, strict=False
        )
    ]
    return Plot(
        title=about.title,
        picture=histograms(about, found.edges, new, reference),
        key=key(about, [new], line=reference),
        headings=("score (logit)", "newest images", "clean test images"),
        rows=tuple(rows),
    )


def _bars(name: str, title: str, what: str, items: Sequence[Bar], statistics: Statistics) -> Plot:
    drawn = list(items)
    if len(drawn) > _BARS:
        rest = drawn[_BARS - 1 :]
        drawn = [*drawn[: _BARS - 1], Bar(label=f"{len(rest)} others", value=sum(item.value for item in rest))]
    words = ", ".join(f"{item.label} {item.value:g}" for item in drawn) or "none"
    about = About(name=name, title=title, description=f"Bars of studies, {_period(statistics)}: {words}.")
    return Plot(
        title=title,
        picture=bars(about, drawn),
        key=Markup(""),
        headings=(what, "studies"),
        rows=tuple((item.label, f"{item.value:g}") for item in items),
    )


def _period(statistics: Statistics) -> str:
    return f"{statistics.period.since.isoformat()} to {statistics.period.until.isoformat()}"
