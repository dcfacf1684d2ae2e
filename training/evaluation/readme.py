"""A bundle's README.md: prose from the configuration's folder, numbers from the card."""

from pathlib import Path

from training.evaluation.figures import line
from training.export import read_card


def write_readme(bundle: Path, template: Path) -> None:
    """Fills the template's placeholders from card.json and writes README.md beside it."""
    card = read_card(bundle)
    training, split = card["training"], card["training"]["split"]
    data = "\n".join(
        f"- {entry['name']}: {entry['images']} images"
        + (f" of {entry['patients']} patients" if "patients" in entry else "")
        + f"; {entry['source']}; {entry['licence']}. {entry['note'].capitalize()}."
        for entry in card["data"]
    )
    text = template.read_text(encoding="utf-8").format(
        version=card["version"],
        contiguous_k=card["pooling"]["contiguous_k"],
        minutes=round(training["wall_clock_s"] / 60),
        steps=training["steps"],
        train_images=split["train"]["images"],
        train_groups=split["train"]["groups"],
        validation_images=split["validation"]["images"],
        validation_groups=split["validation"]["groups"],
        held_out=", ".join(training["held_out_families"]),
        data=data,
        command=f"`{card['figures'][0]['command']}`" if card["figures"] else "not measured",
        figures="\n".join(line(figure) for figure in card["figures"]),
    )
    (bundle / "README.md").write_text(text, encoding="utf-8")
