"""One exception tree for the whole node.

Each reception error carries the DIMSE status that its sender gets (PS3.4 Table B.2-1), so that the
C-STORE handler needs no table of its own.
"""


class MedfakeError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigurationError(MedfakeError):
    """The configuration can't be used; ``problems`` names every mistake found."""

    def __init__(self, problems: "tuple[object, ...]") -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class ReceptionError(MedfakeError):
    """An object could not be accepted; ``status`` is the answer to the C-STORE request."""

    status = 0xC000


class OutOfResourcesError(ReceptionError):
    """Refused: out of resources. The sender may try again later (PS3.4 B.2.3)."""

    status = 0xA700


class SopClassMismatchError(ReceptionError):
    """The data set doesn't match the SOP class that the request announced (PS3.4 B.2.3)."""

    status = 0xA900


class CannotUnderstandError(ReceptionError):
    """The data set can't be parsed or lacks what identifies it (PS3.4 B.2.3)."""

    status = 0xC000


class PixelError(MedfakeError):
    """An image's pixels can't be had; the text is the reason that report, log and console show."""


class BundleError(MedfakeError):
    """A model bundle is missing, damaged or isn't what its card says."""


class AssessmentError(MedfakeError):
    """What is recorded of a study can't become a verdict."""


class ReportError(MedfakeError):
    """A report can't be built from what is known of the study."""


class DeliveryError(MedfakeError):
    """A destination could not be reached or did not take what was sent."""


class NotificationError(MedfakeError):
    """A notification can't be written: its template or its secret can't be used."""


class AuditError(MedfakeError):
    """The audit log is damaged or can't be written."""
