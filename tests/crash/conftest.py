"""The crash tests share the fixtures of the tests that run a whole node."""

import gc
from collections.abc import Iterator

import pytest

from tests.integration.conftest import make_node, model_cache

__all__ = ["make_node", "model_cache"]


@pytest.fixture(autouse=True)
def _collect_what_a_dead_peer_left() -> Iterator[None]:
    """Have a sender's unclosed socket complain in the test that expects it, not in whatever runs next."""
    yield
    gc.collect()
