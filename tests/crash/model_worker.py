"""What a worker does with new bundles, in a process of its own that may be killed: ``CONFIG`` until nothing is left."""

import sys
import threading
import time
from pathlib import Path

from medfake_pacs.config import load_settings
from medfake_pacs.database import open_engine
from medfake_pacs.workflows import model_offers
from medfake_pacs.workflows.context import Context
from medfake_pacs.workflows.model_updates import ModelUpdates

_TIMEOUT_S = 120.0


def main(config: Path) -> None:
    """Take new bundles as far as they come."""
    settings = load_settings(config)
    context = Context.open(settings, open_engine(settings.database_url))
    updates = ModelUpdates(context, threading.Event())
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        updates.run()
        left = [*model_offers.arrivals(settings), *model_offers.claimed(settings), *model_offers.offers(settings)]
        if not left:
            break
    context.decoders.close()
    context.engine.dispose()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
