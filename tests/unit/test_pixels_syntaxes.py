"""The table of transfer syntaxes, which every process may read without paying for codecs."""

import subprocess
import sys

import pytest
from pydicom.uid import UID

from medfake_pacs.pixels.syntaxes import SUPPORTED_TRANSFER_SYNTAXES, TRANSFER_SYNTAXES
from tests.support import REPOSITORY


def test_the_table_loads_no_codec() -> None:
    script = (
        "import sys; from medfake_pacs.pixels.syntaxes import SUPPORTED_TRANSFER_SYNTAXES; "
        "print([name for name in ('numpy', 'pydicom', 'gdcm', 'torch', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_entry_is_a_transfer_syntax_and_unique() -> None:
    assert len(set(SUPPORTED_TRANSFER_SYNTAXES)) == len(SUPPORTED_TRANSFER_SYNTAXES) == 19
    for uid in SUPPORTED_TRANSFER_SYNTAXES:
        assert UID(uid).is_valid


@pytest.mark.parametrize("uid", SUPPORTED_TRANSFER_SYNTAXES)
def test_pydicom_agrees_on_what_is_encapsulated(uid: str) -> None:
    if UID(uid).is_transfer_syntax:
        assert TRANSFER_SYNTAXES[uid].encapsulated == UID(uid).is_encapsulated
