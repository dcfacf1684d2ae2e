"""What made the report: General Equipment (PS3.3 C.7.5.1, C.7.5.2) and Contributing Equipment (C.12.1.1.5)."""

from collections.abc import Mapping
from datetime import datetime

from pydicom.dataset import Dataset

from medfake_pacs.entities import ModelIdentity
from medfake_pacs.report import sanitise
from medfake_pacs.report.scheme import Concept, code_item
from medfake_pacs.report.settings import ReportSettings

PROCESSING_EQUIPMENT = Concept("109102", "DCM", "Processing Equipment")
_LONG, _SHORT = 64, 16


def add_equipment(dataset: Dataset, settings: ReportSettings) -> None:
    """Describe the node; the attributes that are type 1 in Enhanced General Equipment are never empty."""
    dataset.Manufacturer = sanitise.text(settings.manufacturer, _LONG) or "unknown"
    dataset.ManufacturerModelName = sanitise.text(settings.manufacturer_model_name, _LONG) or "unknown"
    dataset.SoftwareVersions = sanitise.text(settings.software_version, _LONG) or "unknown"
    serial = settings.device_serial_number or settings.node_ae_title
    dataset.DeviceSerialNumber = sanitise.text(serial, _LONG) or "unknown"
    station = sanitise.text(settings.station_name or settings.node_ae_title, _SHORT)
    if station:
        dataset.StationName = station
    institution = sanitise.text(settings.institution_name, _LONG)
    if institution:
        dataset.InstitutionName = institution


def contributing(
    settings: ReportSettings, device_uid: str, models: Mapping[str, ModelIdentity], now: datetime
) -> list[Dataset]:
    """Return one item for the node and one for each model, by its Device UID: new weights have a new one."""
    items = [_item(settings, device_uid, "Assessed whether the images of the study are authentic", now)]
    for model_uid, model in models.items():
        item = _item(settings, model_uid, "Model that scored the images", now)
        item.ManufacturerModelName = sanitise.text(model.name, _LONG) or "unknown"
        item.SoftwareVersions = sanitise.text(model.version, _LONG) or "unknown"
        item.DeviceSerialNumber = sanitise.text(model.sha256, _LONG) or "unknown"
        items.append(item)
    return items


def _item(settings: ReportSettings, device_uid: str, what: str, now: datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(PROCESSING_EQUIPMENT)]
    add_equipment(item, settings)
    item.DeviceUID = device_uid
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S.%f") + now.strftime("%z")[:5]
    item.ContributionDescription = what
    return item
