"""The root of the content tree: a Measurement Report (TID 1500) with its observation context."""

from collections.abc import Iterator

from medfake_pacs.entities import SeriesVerdict, Verdict
from medfake_pacs.report import content, sanitise
from medfake_pacs.report.content import Item
from medfake_pacs.report.groups import GroupBuilder
from medfake_pacs.report.scheme import Concept
from medfake_pacs.report.settings import ReportSettings

TITLE = Concept("126000", "DCM", "Imaging Measurement Report")
LANGUAGE = Concept("121049", "DCM", "Language of Content Item and Descendants")
OBSERVER_TYPE = Concept("121005", "DCM", "Observer Type")
DEVICE = Concept("121007", "DCM", "Device")
DEVICE_UID = Concept("121012", "DCM", "Device Observer UID")
DEVICE_NAME = Concept("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER = Concept("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL = Concept("121015", "DCM", "Device Observer Model Name")
DEVICE_SERIAL = Concept("121016", "DCM", "Device Observer Serial Number")
DEVICE_LOCATION = Concept("121017", "DCM", "Device Observer Physical Location during observation")
PROCEDURE_REPORTED = Concept("121058", "DCM", "Procedure reported")
IMAGE_LIBRARY = Concept("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Concept("126200", "DCM", "Image Library Group")
MODALITY = Concept("121139", "DCM", "Modality")
IMAGING_MEASUREMENTS = Concept("126010", "DCM", "Imaging Measurements")

# CID 100
IMAGING_PROCEDURE = Concept("363679005", "SCT", "Imaging procedure")
_PROCEDURES = {
    "CT": Concept("25045-6", "LN", "CT unspecified body region"),
    "MR": Concept("25056-3", "LN", "MRI unspecified body region"),
}
# CID 29, as far as these modalities make images; other images are listed without the modality
_MODALITIES = {
    "CR": "Computed Radiography", "CT": "Computed Tomography", "DX": "Digital Radiography",
    "ES": "Endoscopy", "GM": "General Microscopy", "IO": "Intra-oral Radiography", "IVUS": "Intravascular Ultrasound",
    "MG": "Mammography", "MR": "Magnetic Resonance", "NM": "Nuclear Medicine", "OP": "Ophthalmic Photography",
    "OPT": "Ophthalmic Tomography", "PT": "Positron emission tomography", "PX": "Panoramic X-Ray",
    "RF": "Radiofluoroscopy", "RG": "Radiographic imaging", "SM": "Slide Microscopy",
    "US": "Ultrasound", "XA": "X-Ray Angiography", "XC": "External-camera Photography",
}  # fmt: skip


def measurement_report(verdict: Verdict, settings: ReportSettings, device_uid: str, groups: GroupBuilder) -> Item:
    """Return the root content item of the report."""
    items = [
        content.code(content.HAS_CONCEPT_MOD, LANGUAGE, Concept(settings.language, "RFC5646", "English")),
        *_device_observer(settings, device_uid),
        content.code(content.HAS_CONCEPT_MOD, PROCEDURE_REPORTED, procedure(verdict)),
        *_image_library(verdict),
        content.container(content.CONTAINS, IMAGING_MEASUREMENTS, groups.build()),
    ]
    return content.container("", TITLE, items, template="1500")


def _device_observer(settings: ReportSettings, device_uid: str) -> Iterator[Item]:
    """Say that a device made the report, and which (TID 1001, 1002, 1004)."""
    yield content.code(content.HAS_OBS_CONTEXT, OBSERVER_TYPE, DEVICE)
    yield content.uidref(content.HAS_OBS_CONTEXT, DEVICE_UID, device_uid)
    described = (
        (DEVICE_NAME, settings.node_ae_title),
        (DEVICE_MANUFACTURER, settings.manufacturer),
        (DEVICE_MODEL, f"{settings.manufacturer_model_name} {settings.software_version}"),
        (DEVICE_SERIAL, settings.device_serial_number),
        (DEVICE_LOCATION, settings.station_name),
    )
    for name, value in described:
        cleaned = sanitise.paragraph(value)
        if cleaned:
            yield content.text(content.HAS_OBS_CONTEXT, name, cleaned)


def procedure(verdict: Verdict) -> Concept:
    """Return the most specific procedure that all series are part of."""
    found = {_PROCEDURES.get(series.modality, IMAGING_PROCEDURE) for series in verdict.series}
    return found.pop() if len(found) == 1 else IMAGING_PROCEDURE


def _image_library(verdict: Verdict) -> Iterator[Item]:
    """List every image once, a group for each series (TID 1600, 1601)."""
    seen: set[str] = set()
    groups = [group for series in verdict.series if (group := _library_group(series, seen)) is not None]
    if groups:
        yield content.container(content.CONTAINS, IMAGE_LIBRARY, groups)


def _library_group(series: SeriesVerdict, seen: set[str]) -> Item | None:
    meaning = _MODALITIES.get(series.modality)
    items: list[Item] = []
    for finding in series.findings:
        attributes = finding.attributes
        if attributes.sop_instance_uid not in seen:
            seen.add(attributes.sop_instance_uid)
            items.append(
                content.image(content.CONTAINS, content.SOURCE, attributes.sop_class_uid, attributes.sop_instance_uid)
            )
    if not items:
        return None
    if meaning:
        items.insert(0, content.code(content.HAS_ACQ_CONTEXT, MODALITY, Concept(series.modality, "DCM", meaning)))
    return content.container(content.CONTAINS, IMAGE_LIBRARY_GROUP, items)
