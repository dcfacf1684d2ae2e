"""The crash tests share the fixtures of the tests that run a whole node."""

from tests.integration.conftest import make_node, model_cache

__all__ = ["make_node", "model_cache"]
