"""The report as one HTML file that asks for nothing else: readable on screen, phone and paper."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from training.evaluation import plots

Plain = dict[str, Any]
_PERCENT = "\N{NO-BREAK SPACE}%"
_NONE = "\N{EN DASH}"
_LOSSES = ("loss", "training_loss", "validation_loss", "val_loss")
_SCORES = ("accuracy", "training_accuracy", "validation_accuracy", "val_accuracy", "auc", "validation_auc")


def page(report: Plain) -> str:
    """The whole document of a report's plain data."""
    environment = Environment(
        loader=PackageLoader("training.evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"number": number, "percent": percent, "interval": breakable, "fraction": fraction}
    template = environment.get_template("report.html")
    diagrams = {name: Markup(svg) for name, svg in diagrams_of(report).items()}
    return template.render(report=report, diagrams=diagrams, short=in_short(report))


def diagrams_of(report: Plain) -> dict[str, str]:
    """The SVG of every diagram that the report has numbers for."""
    curves, groups = report["curves"], report["groups"]
    found: dict[str, str] = {}
    if any(curves.values()):
        found["roc"] = plots.roc(curves, {name: group["auc"]["value"] for name, group in groups.items()})
        averages = {name: group["average_precision"]["value"] for name, group in groups.items()}
        found["precision_recall"] = plots.precision_recall(curves, averages)
    if report["reliability"]:
        everything = groups.get("all families", {}).get("calibration_error", {"value": None})
        found["reliability"] = plots.reliability(report["reliability"], everything["value"])
    if report["histogram"]:
        found["spread"] = plots.spread(report["histogram"])
    if report["robustness"]["rows"]:
        found["conditions"] = plots.conditions(report["robustness"]["rows"])
    for name, wanted, title in (("losses", _LOSSES, "loss"), ("scores", _SCORES, "accuracy and AUC")):
        if any(key in one for one in report["history"] for key in wanted):
            found[name] = plots.training(report["history"], wanted, title)
    return found


def in_short(report: Plain) -> list[str]:
    """The first sentences, made of the numbers."""
    false = report["false_alarms"]
    said = [
        f"On {group['fakes']} fakes made from images of {group['patients']} held-out patients, {_KINDS[name]}: AUC "
        f"{interval(group['auc_of_all'])}{_refusing(group)}."
        for name, group in report["groups"].items()
        if name in _KINDS and group["auc_of_all"]["value"] is not None
    ]
    if false["value"] is not None:
        said.append(f"Of {false['of']} clean images, {false['count']} are called fake: {interval(false, 'percent')}.")
    if missing := report["evaluated"]["missing_families"]:
        said.append(f"Not measured, since no trained generators were given: {', '.join(missing)}.")
    met = sum(bar["met"] for bar in report["bars"])
    said.append(f"{met} of the {len(report['bars'])} bars set for this model are met.")
    return said + report["sentences"]


def _refusing(group: Plain) -> str:
    """What is to be said of an AUC where images were refused."""
    if group["scored"] == group["of"]:
        return ""
    refused = f"{group['of'] - group['scored']} of {group['of']} images are refused and ranked lowest"
    return f"; {refused} (AUC of the others {number(group['auc']['value'])})"


_KINDS = {"seen": "by the families of the training", "never seen": "by families never trained on"}


def number(value: float | None, digits: int = 3) -> str:
    """A value with three decimals, a dash where there is none."""
    return _NONE if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def percent(value: float | None) -> str:
    """A share in per cent."""
    return _NONE if value is None else f"{value * 100:.1f}{_PERCENT}"


def interval(figure: Plain | None, style: str = "number") -> str:
    """A value with its interval: 0.912 (0.880 to 0.941); the interval alone where there is no value."""
    value, between = parts(figure, style)
    return f"{value} {between}".strip()


def parts(figure: Plain | None, style: str = "number") -> tuple[str, str]:
    """The value and its interval, apart."""
    show = percent if style == "percent" else number
    figure = figure or {}
    if figure.get("low") is None or figure.get("high") is None:
        return show(figure.get("value")), ""
    low, high = show(figure["low"]), show(figure["high"])
    return show(figure.get("value")), f"({low.removesuffix(_PERCENT)} to {high})"


def breakable(figure: Plain | None, style: str = "number") -> Markup:
    """A value and its interval in HTML; a line may end between them and nowhere else."""
    value, between = parts(figure, style)
    if not between:
        return Markup('<span class="n">{}</span>').format(value)
    return Markup('<span class="n">{}</span> <span class="n soft">{}</span>').format(value, between)


def fraction(figure: Plain) -> str:
    """A share as it was counted: 2 of 221."""
    return f"{figure['count']} of {figure['of']}"
