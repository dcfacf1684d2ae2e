"""What a report says of the node that made it."""

from dataclasses import dataclass

from medfake_pacs import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """The node's identity and the site's choices, as every report carries them.

    ``device_uid`` is made from the AE title and the serial number where it is empty. ``uid_root`` is
    either ``2.25`` (PS3.5 B.2) or a root that the site owns. The reports' text is English;
    ``language`` is the RFC 5646 tag that says so. ``occasion`` tells reports on the same study apart that aren't
    revisions of one another, as those on uploaded images are; it is empty for the node's own.

    Raises:
        ValueError: the language isn't English, the only one that the reports are written in.
    """

    manufacturer: str = "medfake_pacs"
    manufacturer_model_name: str = "medfake_pacs"
    software_version: str = __version__
    device_serial_number: str = ""
    device_uid: str = ""
    station_name: str = ""
    institution_name: str = ""
    node_ae_title: str = "MEDFAKE"
    preliminary: bool = True
    language: str = "en"
    series_number: int = 9900
    uid_root: str = "2.25"
    occasion: str = ""

    def __post_init__(self) -> None:
        if self.language.split("-")[0].lower() != "en":
            raise ValueError(f"language is {self.language!r}, but reports are written in English only: use 'en'")
