"""The report's diagrams as inline SVG whose colours follow the page: light, dark and print.

Drawn by matplotlib with stand-in colours, which are then replaced by the page's CSS variables.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Plain = dict[str, Any]
# Stand-in colour to CSS variable.
COLOURS: Mapping[str, str] = {
    "#010203": "--ink",
    "#020304": "--line",
    "#030405": "--a",
    "#040506": "--b",
    "#050607": "--c",
    "#060708": "--paper",
}
INK, LINE, A, B, C, PAPER = COLOURS
_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.4,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def draw(name: str, text: str, paint: Callable[[Axes], None], size: tuple[float, float] = (4.9, 3.7)) -> str:
    """An SVG element of one diagram. ``name`` keeps its identifiers apart, ``text`` says what there is to see."""
    with mpl.rc_context(dict(_STYLE)):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(buffer.getvalue(), name, text)


def _inline(svg: str, name: str, text: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'xlink:href="#{name}-')
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", svg)
    for colour, variable in COLOURS.items():
        svg = svg.replace(colour, f"var({variable})")
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()  # type: ignore[union-attr]
    opening = (
        f'<svg role="img" aria-label="{escape(text, quote=True)}" viewBox="0 0 {width} {height}" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" style="max-width:{float(width) * 4 / 3:.0f}px">'
        f"<title>{escape(text)}</title>"
    )
    return opening + svg[svg.index(">") + 1 :]


def roc(curves: Mapping[str, Plain], areas: Mapping[str, float | None]) -> str:
    """The ROC curves of the groups of images."""
    shown = {name: curve for name, curve in curves.items() if curve}

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, linestyle=":")
        for (name, curve), colour in zip(shown.items(), (A, B, C), strict=False):
            band = curve["band"]
            axes.fill_between(band["false_alarms"], band["low"], band["high"], color=colour, alpha=0.12, linewidth=0)
            area = areas[name]
            label = name if area is None else f"{name}: {area:.3f}"
            axes.step(curve["false_alarms"], curve["found"], where="post", color=colour, label=label)
        axes.set(xlabel="clean images at or above the score", ylabel="fakes at or above the score")
        axes.set(xlim=(0, 1), ylim=(0, 1.01))
        axes.legend(loc="lower right")

    said = "; ".join(f"{name} {area:.3f}" for name, area in areas.items() if area is not None)
    return draw("roc", f"ROC curves with bands of 95 %. Areas: {said}.", paint)


def precision_recall(curves: Mapping[str, Plain], averages: Mapping[str, float | None]) -> str:
    """Precision over recall, at equal numbers of clean images and fakes."""
    shown = {name: curve for name, curve in curves.items() if curve}

    def paint(axes: Axes) -> None:
        axes.axhline(0.5, color=LINE, linewidth=1, linestyle=":")
        for (name, curve), colour in zip(shown.items(), (A, B, C), strict=False):
            average = averages[name]
            label = name if average is None else f"{name}: {average:.3f}"
            axes.plot(curve["found"], curve["precision"], color=colour, label=label)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0.4, 1.01))
        axes.legend(loc="lower left")

    said = "; ".join(f"{name} {value:.3f}" for name, value in averages.items() if value is not None)
    return draw("pr", f"Precision over recall. Average precision: {said}.", paint)


def reliability(bins: Sequence[Plain], error: float | None) -> str:
    """The share of fakes against the stated probability."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, linestyle=":")
        sizes = [12 + 220 * one["weight"] for one in bins]
        axes.scatter(
            [one["probability"] for one in bins], [one["share_of_fakes"] for one in bins], s=sizes, color=A, alpha=0.8
        )
        axes.plot([one["probability"] for one in bins], [one["share_of_fakes"] for one in bins], color=A, linewidth=1)
        axes.set(xlabel="stated probability of fake", ylabel="share of fakes", xlim=(0, 1), ylim=(-0.02, 1.02))

    said = "unknown" if error is None else f"{error:.3f}"
    return draw("reliability", f"Reliability diagram, {len(bins)} bins. Expected calibration error {said}.", paint)


def spread(histogram: Plain) -> str:
    """How the scores of clean images and of fakes are spread."""

    def paint(axes: Axes) -> None:
        for name, colour in (("clean", B), ("fakes", A)):
            axes.stairs(histogram[name], histogram["edges"], color=colour, label=name, fill=True, alpha=0.35)
            axes.stairs(histogram[name], histogram["edges"], color=colour)
        axes.set(xlabel="score (logit)", ylabel="share of images")
        axes.legend(loc="upper right")

    return draw("spread", "Histogram of the scores of clean images and of fakes.", paint)


def training(history: Sequence[Plain], wanted: Sequence[str], title: str) -> str:
    """Curves over the steps of a training; those of ``wanted`` that the history has."""
    keys = [key for key in wanted if any(isinstance(one.get(key), (int, float)) for one in history)]

    def paint(axes: Axes) -> None:
        for key, colour, style in zip(keys, (A, B, C, INK), ("-", "--", "-.", ":"), strict=False):
            points = [(one["step"], one[key]) for one in history if isinstance(one.get(key), (int, float))]
            axes.plot(
                *zip(*points, strict=True), color=colour, linestyle=style, marker=".", label=key.replace("_", " ")
            )
        axes.set(xlabel="step", ylabel=title)
        axes.legend(loc="best")

    last = {key: next((one[key] for one in reversed(history) if one.get(key) is not None), None) for key in keys}
    said = "; ".join(f"{key.replace('_', ' ')} {value:.3f} at the end" for key, value in last.items())
    return draw(f"training-{title.split()[0]}", f"{title} over training: {said}.", paint)


def conditions(rows: Sequence[Plain]) -> str:
    """AUC and the share of clean images called fake under each condition."""

    def paint(axes: Axes) -> None:
        places = range(len(rows))
        for shift, colour, key, label in (
            (-0.15, A, "auc", "AUC"),
            (0.15, B, "clean_fake", "clean images called fake"),
        ):
            known = [
                (place, row[key]) for place, row in zip(places, rows, strict=True) if row[key]["value"] is not None
            ]
            at = [place + shift for place, _ in known]
            value = [figure["value"] for _, figure in known]
            low = [max(0, figure["value"] - (figure["low"] or 0)) for _, figure in known]
            high = [max(0, (figure["high"] or 0) - figure["value"]) for _, figure in known]
            axes.errorbar(value, at, xerr=[low, high], color=colour, fmt="o", markersize=4, linewidth=1, label=label)
        axes.set_yticks(list(places), [row["condition"] for row in rows])
        axes.invert_yaxis()
        axes.set(xlim=(-0.02, 1.02))
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)

    height = 1.0 + 0.27 * len(rows)
    text = "AUC and false alarms with intervals under each condition; the table below has the numbers."
    return draw("conditions", text, paint, (4.9, height))
