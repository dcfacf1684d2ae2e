"""The conformance statement lists what the code does."""

import re

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from medfake_pacs.association.sop_classes import KEPT_SOP_CLASSES
from medfake_pacs.entities import VerdictLabel
from medfake_pacs.pixels.syntaxes import SUPPORTED_TRANSFER_SYNTAXES, TRANSFER_SYNTAXES
from medfake_pacs.report import build, scheme
from medfake_pacs.spool import file_meta
from tests.support import REPOSITORY

STATEMENT = (REPOSITORY / "deploy" / "docs" / "conformance.md").read_text(encoding="utf-8")


def _rows_after(heading: str) -> list[list[str]]:
    """Return the cells of the first table after ``heading``, without its first two lines."""
    table = re.search(r"^\|.*?(?=^$)", STATEMENT.partition(heading)[2], re.MULTILINE | re.DOTALL)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.group().splitlines()[2:]]


def test_the_kept_sop_classes_are_listed() -> None:
    assert {row[1] for row in _rows_after("#### 4.2.1")} == set(KEPT_SOP_CLASSES)


def test_the_transfer_syntaxes_are_listed_in_order_of_preference_with_their_decoders() -> None:
    rows = _rows_after("#### 4.2.3")
    assert tuple(row[1] for row in rows) == SUPPORTED_TRANSFER_SYNTAXES
    assert [row[2] for row in rows] == [TRANSFER_SYNTAXES[row[1]].distribution for row in rows]


def test_the_private_coding_scheme_is_described() -> None:
    assert scheme.SCHEME_DESIGNATOR in STATEMENT
    assert scheme.SCHEME_UID in STATEMENT
    concepts = [each for each in vars(scheme).values() if isinstance(each, scheme.Concept)]
    concepts += [*(scheme.LABELS[label] for label in VerdictLabel), *scheme.OPINIONS.values()]
    names = _rows_after("Coding scheme **99MEDFAKE**")
    values = _rows_after("| REVIEWED-REPORT |")
    listed = {row[0]: row[1].removesuffix(" (the finding)") for row in (*names, *values)}
    assert listed == {concept.value: concept.meaning for concept in concepts}
    used = {word for row in names for word in re.findall(r"\b[A-Z]{3,}(?:-[A-Z]+)?\b", row[2])}
    assert used - {"YES"} == {row[0] for row in values}


def test_who_names_which_implementation() -> None:
    [class_uid] = [row for row in _rows_after("## 3. Associations") if row[0] == "Implementation Class UID"]
    [version] = [row for row in _rows_after("## 3. Associations") if row[0] == "Implementation Version Name"]
    assert class_uid[1:] == [file_meta.IMPLEMENTATION_CLASS_UID, PYNETDICOM_IMPLEMENTATION_UID]
    assert build.IMPLEMENTATION_CLASS_UID == file_meta.IMPLEMENTATION_CLASS_UID
    assert file_meta.IMPLEMENTATION_VERSION_NAME.startswith(version[1].split(" ")[0])
    assert version[2] == PYNETDICOM_IMPLEMENTATION_VERSION


def test_every_event_of_the_log_is_listed() -> None:
    listed = {kind.strip() for row in _rows_after("## 8. Audit") for kind in row[0].split(",")}
    package = REPOSITORY / "medfake_pacs"
    text = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    assert {kind for kind in listed if f'"{kind}"' not in text} == set()
    assert set(re.findall(r'kind="([a-z-]+)"', text)) - listed == set()
