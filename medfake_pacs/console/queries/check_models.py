"""Which models a check can be made with: what is installed, and what people call it."""

from dataclasses import dataclass

from medfake_pacs.classifier.card import parse_card
from medfake_pacs.config import Settings
from medfake_pacs.config.bundles import CARD_NAME, bundle_directories
from medfake_pacs.errors import BundleError
from medfake_pacs.offline import SUBJECTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOption:
    """One model to choose; an empty ``model`` has it detected from the file."""

    model: str
    name: str
    installed: bool
    note: str = ""


DETECT = ModelOption(
    model="", name="Detect from the file", installed=True, note="by the DICOM header; not for PNG and JPEG"
)


def model_choices(settings: Settings) -> tuple[ModelOption, ...]:
    """Return every choice, those that aren't installed included; the first is to have the model detected."""
    cards = {}
    for folder in bundle_directories(settings).values():
        try:
            card = parse_card((folder / CARD_NAME).read_bytes())
        except (BundleError, OSError):
            continue
        cards[card.name] = card
    known = [
        ModelOption(
            model=subject.model,
            name=subject.name,
            installed=subject.model in cards,
            note=f"model {subject.model} {cards[subject.model].version}"
            if subject.model in cards
            else "no model installed",
        )
        for subject in SUBJECTS
    ]
    named = {subject.model for subject in SUBJECTS}
    others = [
        ModelOption(model=name, name=name, installed=True, note=f"{card.modality}, version {card.version}")
        for name, card in cards.items()
        if name not in named
    ]
    return (DETECT, *known, *others)


def model_name(model: str) -> str:
    """Return what people call a model; that of no model is to detect it."""
    if not model:
        return DETECT.name
    return next((subject.name for subject in SUBJECTS if subject.model == model), model)
