"""Model bundles: a directory with card.json and weights.safetensors, checked by digest; never a pickle."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from medfake_pacs.classifier.card import Card, Network, parse_card
from medfake_pacs.classifier.domains import tensor_names
from medfake_pacs.errors import BundleError

CARD_NAME = "card.json"
WEIGHTS_NAME = "weights.safetensors"
DOMAIN_PREFIX = "domain."
_MAX_CARD_BYTES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A checked bundle. ``model_sha256`` covers the weights and everything of the card that a score depends on;
    ``calibration_sha256`` covers that and the thresholds: everything that a verdict depends on.
    """

    directory: Path
    card: Card
    model_sha256: str
    calibration_sha256: str

    @property
    def weights_path(self) -> Path:
        """Where the weights are."""
        return self.directory / WEIGHTS_NAME

    def tensors(self, prefix: str = "") -> Mapping[str, npt.NDArray[np.generic]]:
        """The tensors whose names start with ``prefix``, as numpy arrays.

        Raises: BundleError when the file can't be read as safetensors.
        """
        try:
            with safe_open(self.weights_path, framework="numpy") as handle:
                return {name: handle.get_tensor(name) for name in handle.keys() if name.startswith(prefix)}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{self.weights_path}: {error}") from error


def load_bundle(directory: Path | str) -> Bundle:
    """Reads a bundle's card and checks the digest and form of its weights.

    Raises: BundleError when a file is missing, the digest is another, or the weights aren't safetensors.
    """
    directory = Path(directory)
    card_path, weights_path = directory / CARD_NAME, directory / WEIGHTS_NAME
    for path in (card_path, weights_path):
        if not path.is_file():
            raise BundleError(f"{path} is missing")
    if card_path.stat().st_size > _MAX_CARD_BYTES:
        raise BundleError(f"{card_path} is larger than {_MAX_CARD_BYTES} bytes")
    card = parse_card(card_path.read_bytes())
    with weights_path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    if digest != card.weights_sha256:
        raise BundleError(f"{weights_path}: SHA-256 is {digest}, the card says {card.weights_sha256}")
    bundle = Bundle(
        directory=directory,
        card=card,
        model_sha256=model_digest(card),
        calibration_sha256=calibration_digest(card),
    )
    if missing := tensor_names(card.domain) - set(bundle.tensors(DOMAIN_PREFIX)):
        raise BundleError(f"{weights_path} has no tensors {', '.join(sorted(missing))}")
    return bundle


def find_bundles(directory: Path | str) -> tuple[Bundle, ...]:
    """The bundles in the sub-directories of ``directory`` that hold a card, by name.

    Raises: BundleError when one of them is damaged or two have the same name.
    """
    found = [load_bundle(path.parent) for path in sorted(Path(directory).glob(f"*/{CARD_NAME}"))]
    names = [bundle.card.name for bundle in found]
    for name in names:
        if names.count(name) > 1:
            raise BundleError(f"{directory}: two bundles are named {name}")
    return tuple(found)


def model_digest(card: Card) -> str:
    """Return the digest of the model that the card describes; it trusts the card's digest of the weights.

    It covers what a score and its regions depend on, so that scores are kept by it; not the thresholds.
    """
    network = asdict(card.network)
    if network["cell_px"] == Network.__dataclass_fields__["cell_px"].default:
        # Cards that don't name it have the digest that they had before there was such a key.
        del network["cell_px"]
    return _digest(
        {
            "weights": card.weights_sha256,
            "network": network,
            "preprocessing": dict(card.preprocessing),
            "tile": asdict(card.tile),
            "top_k_positions": card.pooling.top_k_positions,
            "calibration": {"slope": card.calibration.slope, "intercept": card.calibration.intercept},
            "domain": asdict(card.domain),
        }
    )


def calibration_digest(card: Card) -> str:
    """Return the digest of all that turns pixels into a verdict: the model's, and how its scores are read."""
    return _digest(
        {
            "model": model_digest(card),
            "contiguous_k": card.pooling.contiguous_k,
            "calibration": asdict(card.calibration),
            "thresholds": asdict(card.thresholds) if card.thresholds else None,
            "strata": {kind: asdict(stratum) for kind, stratum in card.strata.items()},
        }
    )


def _digest(parts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
