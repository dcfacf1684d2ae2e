"""What the demonstration sends, and what came back."""

from dataclasses import dataclass
from pathlib import Path


class DemoError(Exception):
    """The demonstration can't go on; the text says why and where to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One image, a study of its own; ``manipulation`` is the forge's family, empty for a real one."""

    name: str
    description: str
    study_instance_uid: str
    path: Path
    transfer_syntax: str
    manipulation: str = ""

    @property
    def truth(self) -> str:
        """What it is."""
        return "fake" if self.manipulation else "real"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a report says of its study."""

    verdict: str
    probability: float | None
    reason: str
    path: Path
