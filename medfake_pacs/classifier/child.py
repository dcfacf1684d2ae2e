"""What a child process of the classifier needs to find this package."""

import os
from pathlib import Path


def child_environment() -> dict[str, str]:
    """This process' environment, in which the package is found where it is now, installed or not."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
