"""The classifier stage: checked model bundles, and frames to scores. Importing it imports no engine."""

from medfake_pacs.classifier.bundle import Bundle, find_bundles, load_bundle
from medfake_pacs.classifier.card import Card
from medfake_pacs.classifier.scoring import Classifier

__all__ = ["Bundle", "Card", "Classifier", "find_bundles", "load_bundle"]
