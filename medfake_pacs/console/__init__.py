"""The web console and the REST API: where people look."""
