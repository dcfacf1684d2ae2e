"""A bundle's README.md: prose from a template, numbers from the card and from the report."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from training.evaluation.effort import before_sum
from training.evaluation.figures import line
from training.evaluation.page import in_short, interval
from training.export import read_card

_DEFAULT = "README.md"


def write_readme(bundle: Path, template: Path, report: dict[str, Any] | None = None) -> None:
    """Fills a template's placeholders from card.json, and from a report where there is one; writes README.md.

    Where ``template`` doesn't exist, the one that comes along is taken.

    Raises: KeyError naming a placeholder that isn't known.
    """
    source = template if template.exists() else files("training.evaluation") / "templates" / _DEFAULT
    card = read_card(bundle)
    values = _of_card(card) | {"short": "Not measured.", "bars": "Not measured."}
    if report is not None:
        values |= {"short": _items(in_short(report)), "bars": _bars(report["bars"])}
    text = source.read_text(encoding="utf-8").format_map(values)
    (bundle / "README.md").write_text(text, encoding="utf-8")


def _of_card(card: dict[str, Any]) -> dict[str, Any]:
    training = card["training"]
    split = training["split"]
    figures = card["figures"]
    return {
        "name": card["name"],
        "version": card["version"],
        "modality": card["modality"],
        "description": card["description"],
        "contiguous_k": card["pooling"]["contiguous_k"],
        "minutes": round(training["wall_clock_s"] / 60),
        "minutes_before": round(before_sum(training.get("begun_with", {}), "elapsed_s") / 60),
        "steps": training["steps"],
        "device": training.get("device", "cpu"),
        "train_images": split["train"]["images"],
        "train_groups": split["train"]["groups"],
        "validation_images": split["validation"]["images"],
        "validation_groups": split["validation"]["groups"],
        "families": ", ".join(training["families"]),
        "held_out": ", ".join(training["held_out_families"]),
        "data": "\n".join(_data(entry) for entry in card["data"]) or "- not stated",
        "command": f"`{figures[0]['command']}`" if figures else "not measured",
        "figures": "\n".join(line(figure) for figure in figures),
    }


def _data(entry: dict[str, Any]) -> str:
    patients = f" of {entry['patients']} patients" if "patients" in entry else ""
    note = f" {entry['note'].capitalize()}." if entry.get("note") else ""
    return f"- {entry['name']}: {entry['images']} images{patients}; {entry['source']}; {entry['licence']}.{note}"


def _items(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _bars(bars: Sequence[dict[str, Any]]) -> str:
    lines = ["| bar | outcome | figure |", "|---|---|---|"]
    for bar in bars:
        outcome = "met" if bar["met"] else "**missed**"
        note = f"; {bar['note']}" if bar["note"] else ""
        lines.append(f"| {bar['what']}: {bar['bar']} | {outcome} | {interval(bar)}{note} |")
    return "\n".join(lines)
