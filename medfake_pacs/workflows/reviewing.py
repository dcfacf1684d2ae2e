"""Turn the reviews that radiologists recorded into reports, and queue their deliveries."""

from medfake_pacs.workflows.context import Context


def report_reviews(context: Context) -> None:
    """Write the report of every recorded review and queue it for its destinations; the step may run again."""
