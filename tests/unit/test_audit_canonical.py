"""Canonical JSON: RFC 8785's own samples, and text that databases can't hold."""

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfake_pacs.audit.canonical import canonical_json, storable
from medfake_pacs.entities import VerdictLabel
from medfake_pacs.errors import AuditError

# RFC 8785, Appendix B: IEEE 754 bits and the text of the number.
_RFC_8785_NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), _RFC_8785_NUMBERS.items())
def test_numbers_are_written_as_rfc_8785_samples_say(bits: str, text: str) -> None:
    assert canonical_json(struct.unpack(">d", bytes.fromhex(bits))[0]) == text


def test_the_sample_object_of_rfc_8785_3_2_2() -> None:
    sample = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "€$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_json(sample) == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    text = canonical_json({"\ufb33": 7, "€": 5, "\U0001f600": 6, "\u0080": 4, "ö": 3, "1": 2, "\r": 1})
    assert list(json.loads(text).values()) == [1, 2, 4, 3, 5, 6, 7]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_as_it_was(value: float) -> None:
    assert float(canonical_json(value)) == value


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(_JSON)
def test_the_same_value_gives_the_same_text_whatever_its_order(value: object) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text
    assert text.encode().decode() == text
    assert "\0" not in text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), b"bytes", {1: 2}, object(), {1}])
def test_what_json_has_no_word_for_is_refused(value: object) -> None:
    with pytest.raises(AuditError):
        canonical_json({"value": value} if not isinstance(value, dict) else value)


def test_numbers_and_labels_of_other_libraries_are_taken() -> None:
    value = {"a": np.int64(3), "b": np.float32(0.5), "c": VerdictLabel.NOT_ASSESSED, "d": (1, 2), "e": 2**64}
    assert canonical_json(value) == '{"a":3,"b":0.5,"c":"not assessed","d":[1,2],"e":"18446744073709551616"}'


def test_nul_and_lone_surrogates_become_visible() -> None:
    assert storable("A\0B\udc80C") == "A\\x00B\\udc80C"
    assert storable("Müller^日本\U0001f600") == "Müller^日本\U0001f600"
