"""How what failed is tried again."""

from pydantic import model_validator

from medfake_pacs.config.types import Seconds, Section


class RetrySettings(Section):
    """How a failed delivery is tried again."""

    first_delay_s: Seconds = 10.0
    max_delay_s: Seconds = 3600.0
    give_up_after_s: Seconds = 604_800.0

    @model_validator(mode="after")
    def _check_order(self) -> "RetrySettings":
        if self.max_delay_s < self.first_delay_s:
            raise ValueError("max_delay_s is shorter than first_delay_s; make it at least as long")
        return self
