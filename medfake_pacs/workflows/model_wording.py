"""What command and console say of a new bundle, in words."""

from typing import Any

from medfake_pacs.audit import timestamp
from medfake_pacs.workflows.model_library import Pointer
from medfake_pacs.workflows.model_offers import Offer

_STATES = {
    "offered": "waits to be tried",
    "trying": "is being tried",
    "tried": "was tried",
    "waiting": "waits for recent images to be tried on",
    "ready": "has passed and waits to be switched to",
    "refused": "is refused",
    "settled": "is in force",
}


def title(offer: Offer) -> str:
    """Return what an offer is called: its model and version, or the folder where they aren't known."""
    return f"{offer.name} {offer.version}" if offer.name else f"bundle in folder {offer.folder!r}"


def state_text(offer: Offer) -> str:
    """Return how far an offer has come, and why it isn't further."""
    return f"{_STATES[offer.state]}{': ' + offer.reason if offer.reason else ''}"


def canary_text(canary: dict[str, Any] | Any) -> str:
    """Return what a trial on recent images came to; empty where there was none."""
    if not canary:
        return ""
    parts = [
        f"tried on {canary['images']} recent images of {canary['series']} series",
        f"{canary['newly_fake']} of {canary['not_fake_before']} that weren't fake would be",
        f"{canary['newly_undecided']} of {canary['real_before']} real ones would be indeterminate",
    ]
    if whole := canary.get("whole_series"):
        parts.append(f"{canary['series_newly_fake']} of {whole} whole series would newly be fake")
        parts.append(f"{canary['series_newly_undecided']} of {canary['series_real_before']} real ones indeterminate")
    apart = canary.get("reference_difference")
    if apart is not None:
        parts.append(f"{canary['engine']} and torch differ by {apart:.4f}")
    return "; ".join(parts)


def offer_lines(offer: Offer) -> list[str]:
    """Return what `models list` says of an offer."""
    lines = [f"{title(offer)} {state_text(offer)}"]
    if offer.canary:
        lines.append(f"  {canary_text(offer.canary)}")
    if offer.state in ("ready", "waiting"):
        lines.append(f"  medfake-pacs models switch {offer.name} {offer.version}, or withdraw")
    return lines


def refused_line(offer: Offer) -> str:
    """Return what `models list` says of a bundle that was refused."""
    return f"{title(offer)} is refused: {offer.reason}"


def pointer_lines(pointer: Pointer) -> list[str]:
    """Return since when and why a bundle is in force, and what was before."""
    by = f" by {pointer.by}" if pointer.by else ""
    lines = [f"in force since {timestamp(pointer.switched_at)} ({pointer.reason}{by})"]
    if pointer.note:
        lines.append(f"note: {pointer.note}")
    if pointer.previous:
        lines.append(f"before: {pointer.previous_version} sha256 {pointer.previous_sha256}")
    return lines
