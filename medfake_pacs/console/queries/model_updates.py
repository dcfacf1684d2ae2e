"""New model bundles as page and REST API show them: which are tried or wait, which were refused and why."""

from typing import Annotated

from pydantic import Field

from medfake_pacs.config import Settings
from medfake_pacs.console.queries.facts import Fact
from medfake_pacs.workflows import model_library, model_offers
from medfake_pacs.workflows.model_offers import Offer
from medfake_pacs.workflows.model_wording import canary_text, pointer_lines, state_text, title

_REFUSED_SHOWN = 10


class ModelUpdate(Fact):
    """One bundle that was offered and isn't in force."""

    title: Annotated[str, Field(description="model and version, or the folder where they aren't known")]
    name: str
    version: str
    model_sha256: str
    state: Annotated[str, Field(description="offered, trying, waiting, tried, ready or refused")]
    text: Annotated[str, Field(description="how far it has come, and why it isn't further")]
    canary: Annotated[str, Field(description="what the trial on recent images came to; empty before it")]
    offered_at: Annotated[float, Field(description="seconds since the epoch")]
    by: Annotated[str, Field(description="the account that installed it; empty where it was put into the folder")]


def model_updates(settings: Settings) -> list[ModelUpdate]:
    """Return the bundles that are tried or wait, and the newest that were refused."""
    refused = [offer for offer, _ in model_offers.refused(settings)][-_REFUSED_SHOWN:]
    return [_update(offer) for offer in [*model_offers.offers(settings), *reversed(refused)]]


def in_force_since(settings: Settings) -> dict[str, str]:
    """Return since when and why each bundle is in force that didn't come with the node, by the model's name."""
    return {name: "; ".join(pointer_lines(item)) for name, item in model_library.pointers(settings).items()}


def _update(offer: Offer) -> ModelUpdate:
    return ModelUpdate(
        title=title(offer),
        name=offer.name,
        version=offer.version,
        model_sha256=offer.model_sha256,
        state=offer.state,
        text=state_text(offer),
        canary=canary_text(offer.canary),
        offered_at=offer.offered_at,
        by=offer.by,
    )
