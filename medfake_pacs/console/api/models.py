"""The model bundles as JSON."""

from typing import Annotated

from fastapi import APIRouter, Depends

from medfake_pacs.console.errors import NotFoundError
from medfake_pacs.console.queries.models import ModelState, models_of
from medfake_pacs.console.security.identity import Identity, requires
from medfake_pacs.console.security.permissions import Permission

router = APIRouter()
Reader = Annotated[Identity, requires(Permission.NODE_READ)]
Found = Annotated[list[ModelState], Depends(models_of)]


@router.get("/models", summary="The models that are installed")
def models(_identity: Reader, found: Found) -> list[ModelState]:
    """Return every bundle with its card and digest; damaged ones with the error."""
    return found


@router.get("/models/{name}", summary="One model")
def model(_identity: Reader, found: Found, name: str) -> ModelState:
    """Return the bundle of this name, or in the folder of this name."""
    for item in found:
        if name in (item.name, item.folder):
            return item
    known = ", ".join(item.name or item.folder for item in found) or "none"
    raise NotFoundError(f"No model is named {name!r}; known: {known}.")
