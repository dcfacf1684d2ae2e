"""Read reports back, for the tests of what they say."""

from collections.abc import Iterator

from pydicom import Dataset


def groups(report: Dataset) -> list[Dataset]:
    """Return the measurement groups of a report."""
    container = next(i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    return list(container.ContentSequence)


def group(report: Dataset, name: str) -> Dataset:
    """Return the only measurement group with that Tracking Identifier."""
    found = [each for each in groups(report) if values(each)["Tracking Identifier"] == [name]]
    assert len(found) == 1, [values(each)["Tracking Identifier"] for each in groups(report)]
    return found[0]


def values(item: Dataset) -> dict[str, list[object]]:
    """Return the values of an item's children by Code Meaning of their name."""
    found: dict[str, list[object]] = {}
    for child in item.ContentSequence:
        found.setdefault(child.ConceptNameCodeSequence[0].CodeMeaning, []).append(_value(child))
    return found


def _value(item: Dataset) -> object:
    match item.ValueType:
        case "TEXT":
            return item.TextValue
        case "CODE":
            return item.ConceptCodeSequence[0].CodeMeaning
        case "PNAME":
            return str(item.PersonName)
        case "UIDREF":
            return item.UID
        case "NUM":
            return float(item.MeasuredValueSequence[0].NumericValue)
        case "IMAGE":
            reference = item.ReferencedSOPSequence[0]
            return reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber")
        case "COMPOSITE":
            return item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        case "SCOORD":
            return item.GraphicType, list(item.GraphicData), _value(item.ContentSequence[0])
    raise AssertionError(item.ValueType)


def evidence(report: Dataset) -> Iterator[tuple[str, str]]:
    """Yield (series, instance) of the Current Requested Procedure Evidence Sequence."""
    for one in report.CurrentRequestedProcedureEvidenceSequence:
        for each in one.ReferencedSeriesSequence:
            for instance in each.ReferencedSOPSequence:
                yield each.SeriesInstanceUID, instance.ReferencedSOPInstanceUID
